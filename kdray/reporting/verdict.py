"""Which method serves a scenario, and how sure is that? Words that are computed from the tables.

Dev scores choose the method; test scores only show what the choice is worth. Nothing is claimed
that is not marked as a finding.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from kdray.cell import Point, shown
from kdray.reporting.compare import MAIN, Chosen
from kdray.reporting.difference import Difference, Finding
from kdray.reporting.numbers import listed, p_value, signed
from kdray.reporting.table import Row, Table


class Certainty(StrEnum):
    """What the tests say of the method that dev chose."""

    BEATS_ALL = "it beats every other method"
    BEATS_BASELINE = "it beats the baseline"
    PARTLY = "it beats the baseline on some of the tests"
    BASELINE = "it is the baseline, and nothing is shown to beat it"
    OPEN = "it is not shown to beat the baseline"
    WORSE = "it is worse than another method"
    UNTESTED = "not tested"


@dataclass(frozen=True)
class Verdict:
    """The conclusion about the students of one size and length at one point of the grid."""

    point: Point
    size: str  # with the length, if there are several
    chosen: str | None  # a method; None if dev cannot choose
    certainty: Certainty
    headline: str
    sentences: tuple[str, ...]
    next_runs: tuple[str, ...]  # what to run where the evidence is thin

    @property
    def scenario(self) -> str:
        """Where it holds, in words."""
        return ", ".join(filter(None, [shown(self.point), self.size]))


def verdict_of(tables: Sequence[Table], group: str, *, chosen: Chosen, main_beam: int) -> Verdict:
    """Judge the students of one size and length.

    Args:
        tables: all of one point of the grid, their differences corrected.
        group: size and length in words.
        chosen: the methods that dev chose at this point.
        main_beam: the beam that the headline speaks of.
    """
    main = [table for table in tables if table.beam == main_beam and table.students(group)]
    point = tables[0].point
    if (name := chosen.get(group)) is None:
        reason = "carry different signatures" if any(t.is_dev for t in main) else "are missing"
        headline = f"No method is chosen: the dev scores {reason}."
        return Verdict(point, group, None, Certainty.UNTESTED, headline, (), ())
    dev = next(table for table in main if table.is_dev)
    best = dev.row(group, name)
    assert best is not None, "dev chose it"
    tests = [table for table in main if not table.is_dev]
    scored = [table for table in tests if table.row(group, name)]
    certainty, headline = _headline(best, dev, tests, scored)
    others = [t for t in tables if not t.is_dev and t.beam != main_beam and t.is_translated]
    sentences = [
        _choice(best, dev),
        *(_on_test(table, best) for table in scored),
        *(f"On {t.split}, {name} was not scored." for t in tests if t not in scored),
        *_unchosen(best, tests),
        *_under_conditions(others, best),
        *_beside_teacher((scored or [dev])[0], best),
        *_seed_warning(dev, group),
    ]
    nexts = [
        f"To tell {each.method} from {each.other} on {table.split}: {each.what_next}."
        for table in scored
        for each in _rivals(table, best)
        if each.what_next
    ]
    return Verdict(point, group, name, certainty, headline, tuple(sentences), tuple(nexts))


def _headline(
    best: Row, dev: Table, tests: Sequence[Table], scored: Sequence[Table]
) -> tuple[Certainty, str]:
    """The strongest statement that the tests support."""
    name, baseline = best.method, dev.baseline
    if len(dev.students(best.group)) == 1:
        return Certainty.UNTESTED, f"There is only {name}: nothing to compare it with."
    if not tests:
        told = f"Dev prefers {name}; there are no test scores that could confirm it."
        return Certainty.UNTESTED, told
    every = [(table.split, each) for table in scored for each in _rivals(table, best)]
    worse = [f"{each.other} on {split}" for split, each in every if _loses(each)]
    if worse:
        return Certainty.WORSE, f"Dev prefers {name}, but it is worse than {listed(worse)}."
    splits = [table.split for table in tests]
    others = [row.method for table in (dev, *tests) for row in table.students(best.group)]
    unbeaten = [
        method
        for method in dict.fromkeys(others)
        if method != name and not all(method in _beaten(table, best) for table in tests)
    ]
    if not unbeaten:
        told = f"Take {name}: it beats every other method on {listed(splits)}."
        return Certainty.BEATS_ALL, told
    beaten = [
        table.split
        for table in scored
        if (each := table.to_baseline(best)) is not None and _wins(each)
    ]
    if beaten and beaten == splits:
        return Certainty.BEATS_BASELINE, (
            f"Take {name}: it beats {baseline} on {listed(beaten)}, and is not told from "
            f"{listed(unbeaten)}."
        )
    if beaten:
        return Certainty.PARTLY, f"{name} is shown to beat {baseline} on {listed(beaten)} only."
    if all(each.finding in (Finding.UNTESTED, Finding.SEED_NOISE_UNKNOWN) for _, each in every):
        return Certainty.UNTESTED, _untested(best, dev, every)
    if best.is_baseline:
        told = f"No method is shown to beat the baseline {name}, which dev prefers."
        return Certainty.BASELINE, told
    if not any(table.row(best.group, baseline) for table in tests):
        return Certainty.OPEN, f"Dev prefers {name}; the baseline {baseline} is missing."
    winners = _winners(tests, best.group)
    if winners:
        told = f"Dev prefers {name}, which is not shown to beat {baseline}."
        return Certainty.OPEN, told
    return (
        Certainty.OPEN,
        f"No method is shown to beat the baseline {baseline}; dev prefers {name}.",
    )


def _untested(best: Row, dev: Table, every: Sequence[tuple[str, Difference]]) -> str:
    known = [
        (split, each)
        for split, each in every
        if each.finding is Finding.SEED_NOISE_UNKNOWN and dev.baseline in (each.method, each.other)
    ]
    if not known:
        return f"Dev prefers {best.method}; it could not be tested."
    losses_first = sorted(known, key=lambda item: item[1].is_better)
    looks = [
        f"{'better' if each.is_better else 'worse'} than {each.other} on {split}"
        for split, each in losses_first
    ]
    return (
        f"{best.method} looks {listed(looks)}, but with one seed the luck of the seed is not known."
    )


def _choice(best: Row, dev: Table) -> str:
    among = len(dev.students(best.group))
    rank = f"the best of {among} methods" if among > 1 else "the only method"
    text = f"On dev, {best.method} is {rank}: {best.bleu.mean:.2f} BLEU over {_seeds(best)}"
    close = [
        each.other
        for each in _rivals(dev, best)
        if each.low is not None and each.high is not None and each.low <= 0 <= each.high
    ]
    if not close:
        return f"{text}."
    return f"{text}; {listed(close)} may be as good: 0 lies within the interval of the difference."


def _on_test(table: Table, best: Row) -> str:
    row = table.row(best.group, best.method)
    assert row is not None, "it is scored there"
    text = f"On {table.split}, {row.method} has {row.bleu.mean:.2f} BLEU"
    return f"{text}{_beside_rivals(table, row)}."


def _beside_rivals(table: Table, row: Row) -> str:
    """How it stands to every rival, as the rest of a sentence."""
    rivals = _rivals(table, row)
    said = []
    for verb, kept in (
        ("beats", [each for each in rivals if _wins(each)]),
        ("is worse than", [each for each in rivals if _loses(each)]),
    ):
        if kept:
            said.append(f"it {verb} {listed([_by_how_much(table, each) for each in kept])}")
    if unclear := [each for each in rivals if each.finding is Finding.NOT_SIGNIFICANT]:
        told = [f"{each.other} ({_points(each)}, p {p_value(each.p)})" for each in unclear]
        said.append(f"it is not told from {listed(told)}")
    rest = [each for each in rivals if each.p is None]
    if rest:
        told = [f"{each.other} ({signed(each.value)})" for each in rest]
        said.append(f"untested beside {listed(told)}, since {rest[0].reason}")
    return "".join(f"; {each}" for each in said)


def _by_how_much(table: Table, each: Difference) -> str:
    """A finding: how large, how sure, who would agree."""
    parts = [f"p {p_value(each.p)}"]
    if each.agreement:
        parts.append(f"{each.agreement} of judges would agree")
    parts += [
        _other_metric(each, other)
        for metric in table.signatures
        if metric != MAIN
        and (other := table.difference(each.group, each.method, each.other, metric))
    ]
    return f"{each.other} by {_size(each)} BLEU ({'; '.join(parts)})"


def _other_metric(bleu: Difference, other: Difference) -> str:
    name = "chrF" if other.metric == "chrf" else other.metric
    if other.is_better != bleu.is_better:
        return f"{name} does not agree ({other.value:+.3g})"
    return f"{name} agrees" if other.is_finding else f"{name} leans the same way"


def _size(each: Difference) -> str:
    width = "" if each.half_width is None else f" ± {each.half_width:.2f}"
    return f"{abs(each.value):.2f}{width}"


def _points(each: Difference) -> str:
    width = "" if each.half_width is None else f" ± {each.half_width:.2f}"
    return f"{signed(each.value) or '0'}{width}"


def _unchosen(best: Row, tests: Sequence[Table]) -> list[str]:
    """Names better methods on test that dev did not choose: to take one is to choose on test."""
    winners = [name for name in _winners(tests, best.group) if name != best.method]
    beaten = {method for table in tests for method in _beaten(table, best)}
    if not (names := [name for name in winners if name not in beaten]):
        return []
    if any(_wins(each) for t in tests if (each := t.to_baseline(best)) is not None):
        return []
    return [
        f"On test, {listed(names)} did beat the baseline, but dev did not choose so: confirm it on "
        "new data before relying on it."
    ]


def _under_conditions(tables: Sequence[Table], best: Row) -> Iterator[str]:
    """One sentence for each other condition and test."""
    for table in tables:
        row = table.row(best.group, best.method)
        if row is None:
            continue
        rivals = _rivals(table, row)
        beaten = [each.other for each in rivals if _wins(each)]
        worse = [each.other for each in rivals if _loses(each)]
        parts = [f"it beats {listed(beaten)}"] if beaten else []
        parts += [f"it is worse than {listed(worse)}"] if worse else []
        unclear = [each.other for each in rivals if each.finding is Finding.NOT_SIGNIFICANT]
        parts += [f"it is not told from {listed(unclear)}"] if unclear else []
        untested = [each.other for each in rivals if each.p is None]
        parts += [f"untested beside {listed(untested)}"] if untested else []
        told = f"Under {table.condition.title} on {table.split}, {row.method} has"
        yield f"{told} {row.bleu.mean:.2f} BLEU{''.join(f'; {part}' for part in parts)}."


def _beside_teacher(table: Table, best: Row) -> list[str]:
    row, teacher = table.row(best.group, best.method), table.teacher
    if row is None or teacher is None or teacher.bleu.mean <= 0:
        return []
    text = (
        f"Beside the teacher, {row.method} has {row.bleu.mean / teacher.bleu.mean:.0%} of the "
        f"BLEU on {table.split}"
    )
    if row.num_params and teacher.num_params:
        text += f" with {row.num_params / teacher.num_params:.0%} of the parameters"
    if row.tokens_per_second is None or not teacher.tokens_per_second:
        return [f"{text}."]
    return [
        f"{text}, and decodes {row.tokens_per_second / teacher.tokens_per_second:.1f}× as fast."
    ]


def _seed_warning(dev: Table, group: str) -> list[str]:
    rows = dev.students(group)
    single = [row.method for row in rows if len(row.seeds) == 1]
    if not single:
        return []
    whose = "every method" if len(single) == len(rows) else listed(single)
    return [
        f"With one seed of {whose} the noise of seeds is unknown, and a difference may be the luck "
        "of one run: train three seeds or more before deciding."
    ]


def _rivals(table: Table, row: Row) -> list[Difference]:
    """The chosen method minus each of the others."""
    others = [other.method for other in table.students(row.group) if other.method != row.method]
    found = [table.difference(row.group, row.method, other) for other in others]
    return [each for each in found if each is not None]


def _beaten(table: Table, row: Row) -> list[str]:
    """The methods that a row is shown to beat."""
    return [each.other for each in _rivals(table, row) if _wins(each)]


def _winners(tests: Sequence[Table], group: str) -> list[str]:
    """The methods that beat the baseline on some test."""
    found = [(row, table.to_baseline(row)) for table in tests for row in table.students(group)]
    return list(
        dict.fromkeys(row.method for row, each in found if each is not None and _wins(each))
    )


def _wins(each: Difference) -> bool:
    return each.is_finding and each.is_better


def _loses(each: Difference) -> bool:
    return each.is_finding and not each.is_better


def _seeds(row: Row) -> str:
    return "1 seed" if len(row.seeds) == 1 else f"{len(row.seeds)} seeds"
