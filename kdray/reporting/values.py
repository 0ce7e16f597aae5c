"""How a value is written on a page, and how what belongs together is grouped there."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from itertools import groupby
from typing import Any

from kdray.cell import shown
from kdray.reporting.along import Change, ChangeOfPlaces, Pair
from kdray.reporting.analysis import Analysis
from kdray.reporting.examples import Example
from kdray.reporting.facts import StudyFacts
from kdray.reporting.numbers import NOTHING, listed, signed
from kdray.reporting.table import Table


def fact(value: object) -> str:
    """A value as text: integers with a space between thousands, lists with commas."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: NOTHING}[value]
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u202f")
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(fact, value))
    return str(value)


def common_keys(facts: Mapping[str, Any]) -> list[str]:
    """The columns of facts that are a table: mappings with the same keys, to plain values."""
    rows = list(facts.values())
    if len(rows) < 2 or not all(isinstance(row, Mapping) and row for row in rows):
        return []
    keys = list(rows[0])
    same = all(list(row) == keys for row in rows)
    plain = not any(isinstance(value, Mapping) for row in rows for value in row.values())
    return keys if same and plain else []


def plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts that are no mappings."""
    return {name: value for name, value in facts.items() if not isinstance(value, Mapping)}


def beside(text: str, reference: str) -> list[tuple[str, bool]]:
    """The text in stretches of words, and whether the reference has another one at that place."""
    words, wanted = text.split(), reference.split()
    steps = SequenceMatcher(None, wanted, words, autojunk=False).get_opcodes()
    return [
        (" ".join(words[low:high]), step != "equal")
        for step, _, _, low, high in steps
        if low < high
    ]


def advantage(pair: Pair, place: float) -> str:
    """The advantage at a level, with its interval."""
    at = next((each for each in pair.levels if each.place == place), None)
    if at is None:
        return NOTHING
    return _in_brackets(at.value, at.low, at.high)


def change(of: Change | None) -> str:
    """How much an advantage changes, with its interval and a mark if that is shown."""
    if of is None:
        return NOTHING
    return _in_brackets(of.points, of.low, of.high) + (" *" if of.is_finding else "")


def crossing(of: ChangeOfPlaces | None, sign: str | None) -> str:
    """Where two methods change places, with its number in the chart if that is shown."""
    if of is None:
        return NOTHING
    if of.is_empty:
        return "one is ahead all along *" if of.is_kept else "none"
    low, high = ("…" if end is None else f"{end:.3g}" for end in (of.low, of.high))
    at = ", ".join(f"{place:.3g}" for place in of.at)
    return f"{at} [{low} to {high}]".strip() + (f" * ({sign})" if sign else "")


def by_point(tables: Sequence[Table]) -> list[tuple[str, list[Table]]]:
    """Tables of each point of the grid, under its name."""
    groups = groupby(tables, key=lambda table: table.point)
    return [(shown(point), list(group)) for point, group in groups]


def by_place(examples: Iterable[Example]) -> list[tuple[str, list[Example]]]:
    """Examples of each test and scenario, under their names."""
    groups = groupby(examples, key=lambda each: f"{each.split}, {each.scenario}")
    return [(title, list(group)) for title, group in groups]


def subtitle(study: StudyFacts, analysis: Analysis) -> str:
    """How large the study is, on one line."""
    main = [table for table in analysis.tables if table.beam == study.main_beam]
    students = [row for table in main for row in table.students()]
    if not students:
        return "A study of knowledge distillation for translation."
    methods = len({row.method for row in students})
    seeds = {len(row.seeds) for row in students}
    tests = list(dict.fromkeys(table.split for table in main if not table.is_dev))
    parts = [
        _many(methods, "method"),
        _many(max(seeds), "seed") if len(seeds) == 1 else f"{min(seeds)} to {max(seeds)} seeds",
        _many(len(analysis.verdicts), "scenario"),
        f"tested on {listed(tests)}" if tests else "no test scores",
        f"beam {study.main_beam}",
    ]
    if analysis.num_tests:
        parts.append(f"p corrected for {_many(analysis.num_tests, 'comparison')}")
    return f"Knowledge distillation for translation: {', '.join(parts)}."


def _many(number: int, name: str) -> str:
    return f"{number} {name}" + ("" if number == 1 else "s")


def _in_brackets(value: float, low: float | None, high: float | None) -> str:
    said = signed(value) or "0"
    return said if low is None or high is None else f"{said} [{signed(low)} to {signed(high)}]"
