"""The step that writes a student in another form, tries it, scores it, and describes it."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from kdray.artifacts import (
    RECORD,
    Fetch,
    Key,
    Source,
    canonical_json,
    keys_among,
    write_json,
)
from kdray.config.evaluation import EvaluationConfig
from kdray.config.export import ExportConfig
from kdray.errors import KdrayError
from kdray.export.about import About
from kdray.export.base import Export, ExportFailed
from kdray.export.card import CARD, card
from kdray.export.check import SENTENCES, check, compare, made_up
from kdray.export.cost import cost_of
from kdray.export.forms import export_of
from kdray.export.measure import (
    MEASURED,
    Measured,
    scores_of,
    split_sources,
    student_scores,
    told_loss,
)
from kdray.jobs import NOTES, Counts
from kdray.model.generate import SearchOptions
from kdray.model.storage import load_model, load_shape
from kdray.schema import Split
from kdray.text.corpus import Corpus
from kdray.text.tokenizer import Tokenizer

VERSION = 2
OURS = (RECORD, CARD, MEASURED)
"""Names that a form may not write itself."""


@dataclass(frozen=True, slots=True)
class ExportJob:
    """Write a student in another form. Whole; see `kdray.jobs`.

    Attributes:
        config: of the form.
        student: the model.
        about: where it comes from, for its card.
        corpus: has the sets that the form is scored on; None: it is not scored.
        scores: those of the student itself, if there are any.
        evaluation: how the student was searched and scored, and so the form is.
    """

    config: ExportConfig
    student: Source
    about: About
    corpus: Key | None = None
    scores: Key | None = None
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    is_light: ClassVar[bool] = False

    @property
    def key(self) -> Key:
        """Of the student, the form, and what it is scored on.

        Raises:
            ConfigError: nobody writes this form.
        """
        form = self.config.model_dump(mode="json")
        recipe: dict[str, Any] = {"form": form, "version": export_of(self.config.kind).version}
        inputs = {"student": self.student.fingerprint}
        if self.corpus is not None:
            recipe["evaluation"] = {
                "beam": self.evaluation.main_beam,
                "length_penalty": self.evaluation.length_penalty,
                "bleu_tokenize": self.evaluation.bleu_tokenize,
            }
            inputs["corpus"] = self.corpus.fingerprint
        return Key("export", VERSION, recipe, inputs)

    @property
    def reads(self) -> tuple[Key, ...]:
        """The student, and the corpus and the scores if there are some."""
        return keys_among(self.student, self.corpus, self.scores)

    def check(self, student: Path) -> None:
        """See whether the form fits the student in a folder, before anything is made.

        Raises:
            ConfigError: nobody writes this form, or a package is missing that it needs.
            DataError: the form does not fit the student, or the folder holds none.
        """
        export_of(self.config.kind).check(self.config, student)

    def make(self, folder: Path, fetch: Fetch, *, threads: int) -> Counts:
        """Fill the folder from a copy of the student. -> counts.

        Raises:
            ConfigError: nobody writes this form.
            ExportFailed: the form cannot be written, what was written cannot be published, or it
                does not translate as the student does.
        """
        form = export_of(self.config.kind)
        with tempfile.TemporaryDirectory() as work:
            student = Path(work) / "student"
            shutil.copytree(fetch(self.student), student)
            with _told():
                form.check(self.config, student)
                counts = json.loads(canonical_json(dict(form.write(self.config, student, folder))))
        if not isinstance(counts.get(NOTES, []), list):
            raise ExportFailed(f"its counts name {NOTES!r}, which kdray shows as a list of texts")
        _check(folder)
        measured = self._measured(form, fetch(self.student), folder, fetch, threads=threads)
        shape, kind = load_shape(fetch(self.student)), self.config.kind
        dumped = self.config.model_dump(mode="json")
        text = card(self.about, shape, measured, kind=kind, form=dumped, usage=form.usage)
        with _told():
            form.add_card(self.config, folder, text)
        (folder / CARD).write_text(text, encoding="utf-8")
        found = {"form": dumped, "about": asdict(self.about), **measured.to_json()}
        write_json(folder / MEASURED, found)
        notes = [*counts.get(NOTES, []), *measured.notes]
        return {**counts, **({NOTES: notes} if notes else {}), "measured": found}

    def _measured(
        self, form: Export, student: Path, folder: Path, fetch: Fetch, *, threads: int
    ) -> Measured:
        """Try what was written, score it, and measure what it costs.

        Raises:
            ExportFailed: it does not translate as the student does.
        """
        found = Measured(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()))
        if form.open is None:
            found.unscored = "the package that brings this form does not say how it is opened"
            return found
        model, tokenizer = load_model(student), Tokenizer.load(student)
        positions = model.config.max_length
        texts = {} if self.corpus is None else split_sources(Corpus(fetch(self.corpus)))
        if texts:
            lines, _ = texts[str(Split.DEV)]
            found.checked_on = f"{len(lines[:SENTENCES])} sentences of dev"
        else:
            lines = made_up(tokenizer, positions=positions)
            found.checked_on = f"{len(lines)} made-up lines of pieces of its vocabulary"
            found.unscored = "the text that it was scored on is not at hand"
        plain = SearchOptions(
            beam=self.evaluation.main_beam, length_penalty=self.evaluation.length_penalty
        )
        options = form.search or plain
        found.beam, found.length_penalty = options.beam, options.length_penalty
        with _told():
            engine = form.open(self.config, folder, positions=positions, threads=threads)
            seen = compare(model, tokenizer, engine, lines[:SENTENCES])
            check(seen, is_exact=form.is_exact(self.config))
            found.checked, found.checked_words = seen.to_json(), seen.words()
            if self.scores is not None:
                found.of_student = student_scores(fetch(self.scores), self.evaluation)
            if form.is_exact(self.config) and form.search is None and found.of_student:
                found.scores = found.of_student  # its translations are those that were scored
            else:
                tokenize = self.evaluation.bleu_tokenize
                found.scores = scores_of(engine, texts, options, bleu_tokenize=tokenize)
            del engine
            how = {"positions": positions, "threads": threads}
            found.cost = cost_of(self.config, folder, lines, options, **how).to_json()
        found.notes += told_loss(found)
        return found


@contextmanager
def _told() -> Iterator[None]:
    """Whatever a form raises, which may be that of another package, becomes ours."""
    try:
        yield
    except ExportFailed:
        raise
    except (Exception, SystemExit) as error:
        kind = "" if isinstance(error, KdrayError) else f"{type(error).__name__}: "
        raise ExportFailed(f"{kind}{error}") from error


def _check(folder: Path) -> None:
    """See that a folder holds what an artifact can hold.

    Raises:
        ExportFailed: it holds no file, a name of kdray's own, or what is neither file nor folder.
    """
    inside = sorted(folder.rglob("*"))
    for path in inside:
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            what = path.relative_to(folder)
            raise ExportFailed(f"it wrote {what}, which is neither a plain file nor a folder")
    for name in OURS:
        if folder / name in inside:
            raise ExportFailed(f"it wrote {name}, a name that kdray keeps for itself")
    if not any(path.is_file() for path in inside):
        raise ExportFailed("it wrote no file into the folder that it was given")
