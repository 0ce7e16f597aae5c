"""Where does a method help? BLEU on the quarters of a test, by length and by rarity."""

from kdray.reporting.charts.spec import WIDE, Axis, Chart, Line, Panel, Point
from kdray.reporting.figures.methods import Looks
from kdray.reporting.slices import UNITS, Kind, Slice, Slices
from kdray.reporting.table import Spread

NAMES: dict[Kind, str] = {"length": "source length", "rarity": "rarity of the source's words"}


def draw_slices(slices: Slices, looks: Looks) -> list[Chart]:
    """A chart for each property that the test is cut by."""
    return [_draw(slices, kind, of, looks) for kind in UNITS if (of := slices.of(kind))]


def _draw(slices: Slices, kind: Kind, parts: list[Slice], looks: Looks) -> Chart:
    counts = sorted({part.num_segments for part in parts})
    many = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return Chart(
        name=f"slices-{kind}-{slices.scenario}-{slices.split}",
        title=f"By {NAMES[kind]}.",
        caption=f"Quarters of {many} segments each, scored by themselves. Bars: standard "
        "deviation over seeds.",
        x=Axis(f"{NAMES[kind]} ({UNITS[kind]})", ticks=tuple(_ticks(parts))),
        y=Axis(f"BLEU on {slices.split}"),
        panels=[
            Panel(
                lines=[
                    Line(method, looks[method], _points(method, parts), whiskers=True)
                    for method in parts[0].scores
                ]
            )
        ],
        size=WIDE,
    )


def _ticks(parts: list[Slice]) -> list[tuple[float, str]]:
    return [(float(part.number), f"{part.low:.3g}–{part.high:.3g}") for part in parts]


def _points(method: str, parts: list[Slice]) -> list[Point]:
    return [_point(part.number, part.scores[method]) for part in parts]


def _point(number: int, bleu: Spread) -> Point:
    if bleu.sd is None:
        return Point(number, bleu.mean)
    return Point(number, bleu.mean, bleu.mean - bleu.sd, bleu.mean + bleu.sd)
