"""How complex the scenario of a study is: its measures together, for a person or a program."""

from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby

import rich.box
import rich.table

from kdray.artifacts import Artifact, keys_among
from kdray.cell import within
from kdray.measures.jobs import measures_in
from kdray.measures.measure import Absent, Measures, absent, below, flat
from kdray.measures.teacher import OF_READING, OF_SEARCH
from kdray.model.storage import Shape
from kdray.plan.complexity import why_unmeasured
from kdray.plan.scenario import Scenario
from kdray.plan.step import COMPLEXITY, TEACHER_COMPLEXITY
from kdray.reporting.values import fact
from kdray.runner.study import Study
from kdray.schema import Split
from kdray.text.tokenizer import Tokenizer

_TRUE = ("true_entropy_per_word", "true_entropy_per_sentence")  # in the record of a corpus
load_tokenizer = lru_cache(maxsize=16)(Tokenizer.load)  # for all scenarios that share one
_LATER = "not measured yet; `python -m kdray.complexity` with the same configuration does it"


def measures_of(study: Study) -> dict[str, float | Absent]:
    """The measures of all scenarios, each below the name of its point."""
    return {
        within(scenario.point, name): measure
        for scenario in study.plan.scenarios
        for name, measure in scenario_measures(study, scenario).items()
    }


def scenario_measures(study: Study, scenario: Scenario) -> dict[str, float | Absent]:
    """All that is made of the measures of a scenario; empty if its text is not measured."""
    made = _made(study, scenario, COMPLEXITY)
    if made is None:
        return {}
    text = measures_in(made.counts)
    return {
        **below("text", text),
        **below("truth", _truth(study, scenario)),
        **below("teacher", _of_teacher(study, scenario)),
        **below("capacity", dict(_capacity(study, scenario, text["ref/pieces"]))),
    }


def show_complexity(study: Study) -> None:
    """Print the measures as a table, and below it why others are absent."""
    table = rich.table.Table(box=rich.box.SIMPLE_HEAD, title="Complexity")
    table.add_column("measure", overflow="fold")
    table.add_column("value", justify="right")
    measures = measures_of(study)
    for _, rows in groupby(flat(measures).items(), key=lambda row: row[0].rpartition("/")[0]):
        for name, value in rows:
            table.add_row(name, fact(value))
        table.add_section()
    study.display.console.print(table)
    names: dict[str, list[str]] = {}
    for name, reason in absent(measures).items():
        names.setdefault(reason, []).append(name)
    for reason, (first, *others) in names.items():
        more = f" and {len(others)} more" if others else ""
        study.display.note(f"{first}{more}: {reason}")


def _made(study: Study, scenario: Scenario, stage: str) -> Artifact | None:
    steps = scenario.of(stage)
    return study.store.find(steps[0].key) if steps else None


def _truth(study: Study, scenario: Scenario) -> Measures:
    """H(reference | source) of generated text, which its grammar knows."""
    corpus = study.store.find(scenario.text.clean.corpus)
    counts = corpus.counts if corpus is not None else {}
    unknown = Absent("only a grammar that has generated the text knows it")
    return {
        f"{split}/{name.removeprefix('true_')}": counts.get(name, {}).get(split, unknown)
        for split in (Split.TRAIN, Split.DEV)
        for name in _TRUE
    }


def _of_teacher(study: Study, scenario: Scenario) -> Measures:
    made = _made(study, scenario, TEACHER_COMPLEXITY)
    if made is not None:
        return measures_in(made.counts)
    reason = why_unmeasured(scenario.teacher) or _LATER
    names = (f"{split}/{name}" for split in Split for name in (*OF_READING, *OF_SEARCH))
    return dict.fromkeys(names, Absent(reason))


def _capacity(
    study: Study, scenario: Scenario, tokens: float | Absent
) -> Iterator[tuple[str, float | Absent]]:
    """Parameters of students and teacher, to one another and to the target tokens of the text."""
    teacher = _teacher_params(study, scenario)
    params = {"teacher": teacher, **_student_params(study, scenario)}
    for name, number in params.items():
        yield f"{name}/params", number
        yield f"{name}/params_per_token", _ratio(number, tokens)
        if name != "teacher":
            yield f"{name}/params_to_teacher", _ratio(number, teacher)


def _student_params(study: Study, scenario: Scenario) -> dict[str, int]:
    text = scenario.text
    if not all(map(study.is_made, keys_among(text.tokenizer))):
        return {}
    tokenizer = load_tokenizer(study.store.fetch(text.tokenizer))
    return {
        f"students/{name}": Shape(
            config=size.shape,
            src_vocab=tokenizer.src_vocab,
            tgt_vocab=tokenizer.tgt_vocab,
            shared=tokenizer.joint,
            tokenizer=tokenizer.checksum,
        ).num_params()
        for name, size in scenario.recipe.students.sizes.items()
    }


def _teacher_params(study: Study, scenario: Scenario) -> int | Absent:
    teacher = scenario.teacher
    if teacher is None:
        return Absent("the recipe has no teacher")
    if not all(map(study.is_made, keys_among(*teacher.sources))):
        return Absent("the teacher is not made yet")
    number = teacher.num_params(study.store.fetch)
    return Absent("the teacher does not know them") if number is None else number


def _ratio(one: float | Absent, other: float | Absent) -> float | Absent:
    if isinstance(one, Absent) or isinstance(other, Absent):
        return one if isinstance(one, Absent) else other
    return one / other
