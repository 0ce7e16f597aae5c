"""What is a form worth? Its own translations are scored, unless they are those of the student.

What is found goes into `measured.json`, beside the form, and into the record of the export.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from kdray.artifacts import read_json
from kdray.condition import Condition
from kdray.config.evaluation import EvaluationConfig
from kdray.errors import DataError
from kdray.model.generate import SearchOptions
from kdray.schema import Column, Split
from kdray.scoring.evaluation import SCORES, UNSCORED, condition_of
from kdray.scoring.metrics import Scores, score
from kdray.scoring.result import storable
from kdray.teacher.engine import Engine, translate
from kdray.text.corpus import TEST_PREFIX, Corpus

MEASURED = "measured.json"


@dataclass(slots=True)
class Measured:
    """All that was measured of a form. Plain data.

    Attributes:
        bytes: of what was written, without card and measurements.
        checked: what was seen beside the student; None if nobody can open the form.
        checked_words, checked_on: the same in words, and what was translated for it.
        scores: of dev and each test, BLEU and chrF with signatures, or why there are none.
        of_student: the same of the student itself.
        unscored: why there are no scores at all.
        beam, length_penalty: how was searched.
        cost: see `kdray.export.cost.Cost`; None if nobody can open the form.
        notes: what a person should read.
    """

    bytes: int
    checked: Mapping[str, Any] | None = None
    checked_words: str = ""
    checked_on: str = ""
    scores: dict[str, dict[str, Any]] = field(default_factory=dict)
    of_student: dict[str, dict[str, Any]] = field(default_factory=dict)
    unscored: str = ""
    beam: int = 0
    length_penalty: float = 1.0
    cost: Mapping[str, Any] | None = None
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def split_sources(corpus: Corpus) -> dict[str, tuple[list[str], list[str]]]:
    """Sources and references of dev and each test."""
    splits = [str(Split.DEV), *(f"{TEST_PREFIX}{name}" for name in corpus.tests)]
    tables = {split: corpus.table(split) for split in splits}
    return {
        split: (table[Column.SRC].to_pylist(), table[Column.REF].to_pylist())
        for split, table in tables.items()
    }


def scores_of(
    engine: Engine,
    texts: Mapping[str, tuple[Sequence[str], Sequence[str]]],
    options: SearchOptions,
    *,
    bleu_tokenize: str,
) -> dict[str, dict[str, Any]]:
    """BLEU and chrF of what a form writes, by split; for a split that it cannot read, why."""
    rows: dict[str, dict[str, Any]] = {}
    for split, (src, refs) in texts.items():
        found = translate(engine, src, options)
        if unread := [line for line, best in enumerate(found, start=1) if not best]:
            rows[split] = {
                UNSCORED: f"{len(unread)} sentences, the first in line {unread[0]}, are too long"
            }
            continue
        hyps = [storable(best.text) for best, *_ in found]
        try:
            rows[split] = asdict(score(hyps, refs, bleu_tokenize=bleu_tokenize))
        except DataError as error:
            rows[split] = {UNSCORED: str(error)}
    return rows


def student_scores(folder: Path, evaluation: EvaluationConfig) -> dict[str, dict[str, Any]]:
    """BLEU and chrF of the student itself, by split, from the artifact that holds its scores."""
    main = Condition.of_beam(evaluation.main_beam)
    names = [each.name for each in fields(Scores)]
    return {
        row["split"]: {name: row[name] for name in names}
        for row in read_json(folder / SCORES)
        if UNSCORED not in row and condition_of(row) == main
    }


LOSS = 0.3
"""Points of BLEU on dev; whatever loses more is told."""


def student_loss(
    scores: Mapping[str, Mapping[str, Any]], of_student: Mapping[str, Mapping[str, Any]]
) -> float | None:
    """How much less BLEU on dev a form has than the student; None if one of them is not known."""
    own, row = (rows.get(str(Split.DEV), {}).get("bleu") for rows in (of_student, scores))
    return None if own is None or row is None else float(own - row)


def told_loss(measured: Measured) -> list[str]:
    """A note if what was written is worse on dev than the student."""
    lost = student_loss(measured.scores, measured.of_student)
    if lost is None or lost <= LOSS:
        return []
    bleu, own = (rows[str(Split.DEV)]["bleu"] for rows in (measured.scores, measured.of_student))
    return [f"on dev it has {bleu:.2f} BLEU, {lost:.2f} less than the student's {own:.2f}"]
