"""How complex the scenario of a study is: its measures together, for a person or a program."""

from collections.abc import Iterator
from itertools import groupby

import rich.box
import rich.table

from kdray.artifacts import Artifact, keys_among
from kdray.model.storage import Shape
from kdray.plan.complexity import why_unmeasured
from kdray.plan.step import COMPLEXITY, TEACHER_COMPLEXITY
from kdray.reporting.pages import fact
from kdray.runner.study import Study
from kdray.scenario.jobs import measures_in
from kdray.scenario.measure import Absent, Measures, below, flat
from kdray.scenario.teacher import OF_READING, OF_SEARCH
from kdray.schema import Split
from kdray.text.tokenizer import Tokenizer

_TRUE = ("true_entropy_per_word", "true_entropy_per_sentence")  # in the record of a corpus
_LATER = "not measured yet; `python -m kdray.complexity` with the same configuration does it"


def scenario(study: Study) -> dict[str, float]:
    """The measures of a study's scenario that have a value, as `text/ref/words_mean`."""
    return flat(scenario_measures(study))


def scenario_measures(study: Study) -> dict[str, float | Absent]:
    """All that is made of the measures of a study's scenario; empty if its text is not measured."""
    made = _made(study, COMPLEXITY)
    if made is None:
        return {}
    text = measures_in(made.counts)
    return {
        **below("text", text),
        **below("truth", _truth(study)),
        **below("teacher", _of_teacher(study)),
        **below("capacity", dict(_capacity(study, text["ref/pieces"]))),
    }


def show_complexity(study: Study) -> None:
    """Print the measures as a table."""
    table = rich.table.Table("measure", box=rich.box.SIMPLE_HEAD, title="Complexity")
    table.add_column("value", justify="right")
    table.add_column("absent, since", overflow="fold")
    rows = scenario_measures(study).items()
    for _, group in groupby(rows, key=lambda row: row[0].partition("/")[0]):
        for name, value in group:
            is_absent = isinstance(value, Absent)
            cells = ("–", value.reason) if isinstance(value, Absent) else (fact(value), "")
            table.add_row(name, *cells, style="dim" if is_absent else "")
        table.add_section()
    study.display.console.print(table)


def _made(study: Study, stage: str) -> Artifact | None:
    steps = study.plan.of(stage)
    return study.store.find(steps[0].key) if steps else None


def _truth(study: Study) -> Measures:
    """H(reference | source) of generated text, which its grammar knows."""
    corpus = study.store.find(study.plan.text.corpus)
    counts = corpus.counts if corpus is not None else {}
    unknown = Absent("only a grammar that has generated the text knows it")
    return {
        f"{split}/{name.removeprefix('true_')}": counts.get(name, {}).get(split, unknown)
        for split in (Split.TRAIN, Split.DEV)
        for name in _TRUE
    }


def _of_teacher(study: Study) -> Measures:
    made = _made(study, TEACHER_COMPLEXITY)
    if made is not None:
        return measures_in(made.counts)
    reason = why_unmeasured(study.plan.teacher) or _LATER
    names = (f"{split}/{name}" for split in Split for name in (*OF_READING, *OF_SEARCH))
    return dict.fromkeys(names, Absent(reason))


def _capacity(study: Study, tokens: float | Absent) -> Iterator[tuple[str, float | Absent]]:
    """Parameters of students and teacher, to one another and to the target tokens of the text."""
    teacher = _teacher_params(study)
    params = {"teacher": teacher, **_student_params(study)}
    for name, number in params.items():
        yield f"{name}/params", number
        yield f"{name}/params_per_token", _ratio(number, tokens)
        if name != "teacher":
            yield f"{name}/params_to_teacher", _ratio(number, teacher)


def _student_params(study: Study) -> dict[str, int]:
    text = study.plan.text
    if not all(map(study.is_made, keys_among(text.tokenizer))):
        return {}
    tokenizer = Tokenizer.load(study.store.fetch(text.tokenizer))
    return {
        f"students/{name}": Shape(
            config=size.shape,
            src_vocab=tokenizer.src_vocab,
            tgt_vocab=tokenizer.tgt_vocab,
            shared=tokenizer.joint,
            tokenizer=tokenizer.checksum,
        ).num_params()
        for name, size in study.recipe.students.sizes.items()
    }


def _teacher_params(study: Study) -> int | Absent:
    teacher = study.plan.teacher
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
