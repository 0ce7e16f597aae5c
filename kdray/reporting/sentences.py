"""What is said below the headline of a verdict. Nothing is claimed that is no finding."""

from collections.abc import Iterator, Sequence

from kdray.reporting.compare import MAIN
from kdray.reporting.difference import Difference, Finding
from kdray.reporting.numbers import listed, p_value, signed
from kdray.reporting.rivals import beaten_by, beating_baseline, loses, rivals_of, wins
from kdray.reporting.table import Row, Table


def sentences_of(
    best: Row, dev: Table, tests: Sequence[Table], others: Sequence[Table]
) -> tuple[str, ...]:
    """What the tables say of a method: on dev, on each test, under other conditions, its cost.

    Args:
        best: its row on dev.
        dev: the table that chose it.
        tests: those of the main beam.
        others: tests under other conditions.
    """
    name = best.method
    scored = [table for table in tests if table.row(best.group, name)]
    return (
        _choice(best, dev),
        *(_on_test(table, best) for table in scored),
        *(f"On {t.split}, {name} was not scored." for t in tests if t not in scored),
        *_unchosen(best, tests),
        *_under_conditions(others, best),
        *_beside_teacher((scored or [dev])[0], best),
        *_seed_warning(dev, best.group),
    )


def _choice(best: Row, dev: Table) -> str:
    among = len(dev.students(best.group))
    rank = f"the best of {among} methods" if among > 1 else "the only method"
    text = f"On dev, {best.method} is {rank}: {best.bleu.mean:.2f} BLEU over {_seeds(best)}"
    close = [
        each.other
        for each in rivals_of(dev, best)
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
    rivals = rivals_of(table, row)
    said = []
    for verb, kept in (
        ("beats", [each for each in rivals if wins(each)]),
        ("is worse than", [each for each in rivals if loses(each)]),
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
    winners = [name for name in beating_baseline(tests, best.group) if name != best.method]
    beaten = {method for table in tests for method in beaten_by(table, best)}
    if not (names := [name for name in winners if name not in beaten]):
        return []
    if any(wins(each) for t in tests if (each := t.to_baseline(best)) is not None):
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
        rivals = rivals_of(table, row)
        beaten = [each.other for each in rivals if wins(each)]
        worse = [each.other for each in rivals if loses(each)]
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


def _seeds(row: Row) -> str:
    return "1 seed" if len(row.seeds) == 1 else f"{len(row.seeds)} seeds"
