"""What a study says as a whole: who serves how many scenarios, and what changes along its axes."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kdray.cell import shown
from kdray.reporting.along import Along, Change, Pair
from kdray.reporting.facts import StudyFacts
from kdray.reporting.forms import take_within
from kdray.reporting.numbers import listed, p_value, signed
from kdray.reporting.verdict import Certainty, Verdict
from kdray.statistics.agreement import CAVEAT


@dataclass(frozen=True)
class Overview:
    """The conclusions of a study about all its scenarios together."""

    headline: str
    sentences: tuple[str, ...]
    axes: tuple[tuple[str, tuple[str, ...]], ...]  # of each axis and test, what is shown along it
    reading: tuple[str, ...]  # how to read it all


def overview_of(
    verdicts: Sequence[Verdict], alongs: Sequence[Along], *, study: StudyFacts, num_tests: int
) -> Overview:
    """Put the verdicts of all scenarios and the axes together."""
    axes = tuple((_title(along), tuple(_told(along))) for along in alongs)
    return Overview(
        headline=_headline(verdicts),
        sentences=(
            *(_certain(verdicts) if len(verdicts) > 1 else ()),
            *_unscored(verdicts, study),
            *take_within(study.forms, study.limits),
        ),
        axes=axes,
        reading=tuple(_reading(study, num_tests)),
    )


def _headline(verdicts: Sequence[Verdict]) -> str:
    if not verdicts:
        return "There are no scores of students, so there is no verdict."
    if len(verdicts) == 1:
        return verdicts[0].headline
    wins = Counter(verdict.chosen for verdict in verdicts if verdict.chosen is not None)
    if not wins:
        return "Dev chooses no method: its scores are missing, or are taken in several ways."
    told = [f"{name} in {number} of {len(verdicts)}" for name, number in wins.most_common()]
    return f"Dev chooses {listed(told)} scenarios."


def _certain(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """How many of the choices the tests confirm, method by method."""
    for certainty, told in (
        (Certainty.BEATS_ALL, "the tests show that it beats every other method"),
        (Certainty.BEATS_BASELINE, "they show that it beats the baseline, but not every other one"),
        (Certainty.PARTLY, "they show that it beats the baseline on some of the tests"),
        (Certainty.BASELINE, "dev prefers the baseline, and the tests show no better method"),
        (Certainty.OPEN, "the tests do not show that it beats the baseline"),
        (Certainty.WORSE, "the tests show that another method is better"),
        (Certainty.UNTESTED, "nothing could be tested"),
    ):
        kept = [verdict for verdict in verdicts if verdict.certainty is certainty]
        if kept:
            wins = Counter(verdict.chosen or "none" for verdict in kept)
            names = [f"{name} {number}×" for name, number in wins.most_common()]
            yield f"In {len(kept)} of {len(verdicts)} ({listed(names)}) {told}."


def _unscored(verdicts: Sequence[Verdict], study: StudyFacts) -> Iterator[str]:
    """Points of the grid of which nothing can be said."""
    scored = {verdict.point for verdict in verdicts}
    missing = [shown(point) for point in study.scenarios if point not in scored]
    if missing and scored:
        yield (
            f"{len(missing)} of {len(study.scenarios)} points have no scored students: "
            f"{'; '.join(missing)}."
        )


def _title(along: Along) -> str:
    return f"Along {along.axis} on {along.split}"


def _told(along: Along) -> Iterator[str]:
    """What is shown of pairs of methods along one axis, findings first."""
    if len(along.over) > 1:
        yield f"In the mean over {len(along.over)} combinations of the other axes."
    quiet: list[str] = []
    untested: dict[str, list[str]] = {}  # pairs by reason
    only_places: dict[str, list[str]] = {}  # those of which a change alone is not tested
    for pair in along.pairs:
        names = f"{pair.method} and {pair.other}"
        if pair.no_change:
            only_places.setdefault(pair.no_change, []).append(names)
        if pair.reason:
            untested.setdefault(pair.reason, []).append(names)
        elif sentence := _shown(along, pair):
            yield sentence
        else:
            quiet.append(names)
    if quiet:
        yield f"No change and no crossing is shown between {'; '.join(quiet)}."
    for what, by_reason in (("Not tested", untested), ("A change is not tested", only_places)):
        for reason, pairs in by_reason.items():
            whose = "" if len(pairs) == len(along.pairs) else f" ({'; '.join(pairs)})"
            yield f"{what}{whose}: {reason}."


def _shown(along: Along, pair: Pair) -> str:
    """What is shown of two methods; empty if nothing is."""
    parts = []
    change, crossing = pair.change, pair.crossing
    if change is not None and change.is_finding:
        parts.append(_changes(along, pair, change))
    if crossing is not None and crossing.is_finding:
        at = listed([f"{place:.3g}" for place in crossing.at]) or "no single place"
        low = "below the lowest level" if crossing.low is None else f"{crossing.low:.3g}"
        high = "above the highest level" if crossing.high is None else f"{crossing.high:.3g}"
        verb = "they change places" if parts else f"{pair.method} and {pair.other} change places"
        parts.append(f"{verb} at {at} [{low} to {high}] (p {p_value(crossing.p)})")
    elif crossing is not None and crossing.is_kept:
        ahead = pair.method if pair.levels[0].value > 0 else pair.other
        behind = pair.other if ahead == pair.method else pair.method
        told = f"{ahead} is ahead of {behind} all along the axis"
        parts.append(f"{told} (p {p_value(crossing.p_kept)})")
    elif parts:
        parts.append("that they change places is not shown")
    return f"{'; '.join(parts)}." if parts else ""


def _changes(along: Along, pair: Pair, change: Change) -> str:
    """Told of the side whose advantage grows."""
    first, last = along.labels[0], along.labels[-1]
    names = (pair.method, pair.other)
    points, ends, relative = change.points, (change.low, change.high), change.relative
    if points < 0:
        names = (pair.other, pair.method)
        points, ends, relative = -points, (-change.high, -change.low), -relative
    return (
        f"The advantage of {names[0]} over {names[1]} grows by {points:.2f} BLEU "
        f"[{signed(ends[0])} to {signed(ends[1])}] from {first} to {last}, and by "
        f"{relative:.1f} points of the percentage of the teacher's (p {p_value(change.p)})"
    )


def _reading(study: StudyFacts, num_tests: int) -> Iterator[str]:
    yield f"Students are compared {study.budget}."
    if num_tests:
        tests = "1 comparison" if num_tests == 1 else f"{num_tests} comparisons"
        yield (
            "± and brackets are 95 % intervals over other sentences and other seeds; p is "
            f"corrected after Holm for the {tests} of this report, so the chance that it claims "
            "any difference in BLEU that is not there is at most 5 %."
        )
    yield (
        "Dev chooses, the tests confirm. 'Not told from' does not say that two methods are equal: "
        "only the interval says how far apart they may be."
    )
    yield CAVEAT
