"""Which method should be used, and how sure is that? Sentences that are computed from the tables.

Dev scores choose the method; test scores only show what the choice is worth. A difference is
claimed only if a table marks it as a finding.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kdray.reporting.difference import Difference, Finding
from kdray.reporting.layout import p_value, signed
from kdray.reporting.table import Row, Table
from kdray.schema import Split


@dataclass(frozen=True)
class Verdict:
    """The conclusion about the students of one size and length."""

    size: str  # with the length, if there are several
    chosen: str | None  # a method; None if dev cannot choose
    headline: str
    sentences: tuple[str, ...]


def verdicts(tables: Sequence[Table], *, main_beam: int) -> list[Verdict]:
    """One verdict for each size and length, from the tables of the main beam, in their order."""
    main = [table for table in tables if table.beam == main_beam]
    students = [row for table in main for row in table.rows if not row.is_teacher]
    sizes = dict.fromkeys(row.group for row in students)
    return [_verdict(main, size) for size in sizes]


def _verdict(tables: Sequence[Table], size: str) -> Verdict:
    dev_tables = [table for table in tables if table.split == Split.DEV and _rows(table, size)]
    if len(dev_tables) != 1:
        reason = "carry different signatures" if dev_tables else "are missing"
        headline = f"No method is chosen: the dev scores {reason}."
        return Verdict(size=size, chosen=None, headline=headline, sentences=())
    dev = dev_tables[0]
    rows = _rows(dev, size)
    best = max(rows, key=lambda row: row.bleu.mean)
    on_test = [table for table in tables if table.split != Split.DEV and _rows(table, size)]
    scored = _each(on_test, best)
    unscored = sorted({table.split for table in on_test} - {table.split for table, _ in scored})
    sentences = [
        _choice(best, rows, dev),
        *_close_rivals(best, rows),
        *(_test_sentence(table, row) for table, row in scored),
        *(f"On {split}, {best.method} was not scored." for split in unscored),
        *_unchosen(best, on_test),
        *_beside_teacher(*(scored[0] if scored else (dev, best))),
        *_seed_warning(rows),
    ]
    headline = _headline(best, dev, on_test)
    return Verdict(size=size, chosen=best.method, headline=headline, sentences=tuple(sentences))


def _headline(best: Row, dev: Table, on_test: Sequence[Table]) -> str:
    """The strongest statement that the test tables support."""
    name, baseline = best.method, dev.baseline
    if len(_rows(dev, best.group)) == 1:
        return f"There is only {name}: nothing to compare it with."
    if not on_test:
        return f"Dev prefers {name}; there are no test scores that could confirm it."
    splits: dict[tuple[Finding, bool], list[str]] = {}  # by finding, and whether it is better
    for table, row in _each(on_test, best):
        if row.difference is not None:
            better = row.difference.bleu > 0
            splits.setdefault((row.difference.finding, better), []).append(table.split)
    beats = splits.get((Finding.SIGNIFICANT, True), [])
    worse = splits.get((Finding.SIGNIFICANT, False), [])
    if worse:
        return f"Dev prefers {name}, but it is worse than {baseline} on {_join(worse)}."
    if len(beats) == len(on_test):
        return f"Take {name}: it beats {baseline} beyond noise on {_join(beats)}."
    if beats:
        return f"{name} beats {baseline} beyond noise on {_join(beats)} only."
    looks = [
        f"{word} on {_join(splits[Finding.SEED_NOISE_UNKNOWN, better])}"
        for word, better in (("worse", False), ("better", True))
        if (Finding.SEED_NOISE_UNKNOWN, better) in splits
    ]
    if looks:
        return f"Beside {baseline}, {name} looks {_join(looks)}, but the seed noise is unknown."
    if any(_wins(row) for table in on_test for row in _rows(table, best.group)):
        if best.is_baseline:
            return f"Dev prefers the baseline {name} itself."
        return f"Dev prefers {name}, which does not beat {baseline} beyond noise."
    if not best.is_baseline and all(finding is Finding.UNTESTED for finding, _ in splits):
        return f"Dev prefers {name}; it could not be tested against {baseline}."
    return f"No method beats the baseline {baseline} beyond noise."


def _choice(best: Row, rows: Sequence[Row], dev: Table) -> str:
    among = f"the best of {len(rows)} methods" if len(rows) > 1 else "the only method"
    seeds = "1 seed" if len(best.seeds) == 1 else f"{len(best.seeds)} seeds"
    text = f"On dev, {best.method} is {among}: {best.bleu.mean:.2f} BLEU over {seeds}"
    return f"{text}{_compared(best, dev)}."


def _close_rivals(best: Row, rows: Sequence[Row]) -> list[str]:
    """Names the methods that could have been first with other seeds."""
    if best.bleu.sd is None:
        return []
    close = [
        row.method
        for row in rows
        if row is not best
        and row.bleu.sd is not None
        and best.bleu.mean - row.bleu.mean <= math.hypot(best.bleu.sd, row.bleu.sd)
    ]
    if not close:
        return []
    verb = "is" if len(close) == 1 else "are"
    return [f"On dev, {_join(close)} {verb} within seed noise of it: other seeds may swap them."]


def _test_sentence(table: Table, row: Row) -> str:
    text = f"On {table.split}, {row.method} has {row.bleu.mean:.2f} BLEU{_compared(row, table)}"
    if row.difference is None:
        return f"{text}."
    bleu, chrf = row.difference.bleu, row.difference.chrf
    metrics = [f"{_agrees('chrF', bleu * chrf > 0)} ({signed(chrf)})"]
    for name, change in row.difference.others.items():
        said = _agrees(name, bleu != 0 and change.is_better == (bleu > 0))
        metrics.append(f"{said} ({change.mean:+.3g}, p {p_value(change.p)})")
    return f"{text}; {'; '.join(metrics)}."


def _agrees(metric: str, agrees: bool) -> str:
    return f"{metric} {'agrees' if agrees else 'does not agree'}"


def _compared(row: Row, table: Table) -> str:
    """How a score stands to the baseline's, as the second half of a sentence."""
    if row.is_baseline:
        return "; it is the baseline itself"
    if row.difference is None:
        return f"; it cannot be compared with {table.baseline}"
    return f", {signed(row.difference.bleu)} to {table.baseline}{_certainty(row.difference)}"


def _unchosen(best: Row, on_test: Sequence[Table]) -> list[str]:
    """Names better methods on test that dev did not choose: to take one is to choose on test."""
    winners = [row.method for t in on_test for row in _rows(t, best.group) if _wins(row)]
    if not winners or best.method in winners:
        return []
    names = _join(list(dict.fromkeys(winners)))
    return [
        f"On test, {names} did beat the baseline beyond noise, but dev did not choose so: confirm "
        "it on new data before relying on it."
    ]


def _beside_teacher(table: Table, row: Row) -> list[str]:
    teacher = next((other for other in table.rows if other.is_teacher), None)
    if teacher is None or teacher.bleu.mean <= 0:
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


def _seed_warning(rows: Sequence[Row]) -> list[str]:
    single = [row.method for row in rows if len(row.seeds) == 1]
    if not single:
        return []
    whose = "every method" if len(single) == len(rows) else _join(single)
    return [
        f"With one seed of {whose} the seed noise is unknown, and a difference may be the luck of "
        "one run: train three seeds or more before deciding."
    ]


def _certainty(difference: Difference) -> str:
    if difference.p is None:
        return " (not tested)"
    p = ("p " if difference.p < 0.001 else "p = ") + p_value(difference.p)
    return {
        Finding.SIGNIFICANT: f" ({p}, beyond seed noise: a finding)",
        Finding.NOT_SIGNIFICANT: f" ({p}, within noise)",
        Finding.SEED_NOISE_UNKNOWN: f" ({p}, but the seed noise is unknown)",
    }[difference.finding]


def _wins(row: Row) -> bool:
    return row.is_finding and row.difference is not None and row.difference.bleu > 0


def _rows(table: Table, size: str) -> list[Row]:
    return [row for row in table.rows if not row.is_teacher and row.group == size]


def _each(tables: Sequence[Table], best: Row) -> list[tuple[Table, Row]]:
    """The tables that contain the method, each with the method's row."""
    rows = [(table, row) for table in tables for row in _rows(table, best.group)]
    return [(table, row) for table, row in rows if row.method == best.method]


def _join(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
