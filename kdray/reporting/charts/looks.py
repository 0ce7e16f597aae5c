"""How does a method look? The same colour, dash and marker in every chart and table of a report.

The colours are those of Okabe and Ito, which colour-blind readers can tell apart; `chart.css` says
what they are on white and on dark paper. The baseline has the colour of the text, a teacher that
of the axes. Past the palette, dashes and markers go on telling methods apart.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

NUM_COLORS: Final = 6  # of the palette; colour 0 is that of the text
DASHES: Final = ("", "7 3", "2 3", "9 3 2 3")  # lengths of strokes and gaps, in pixels
MARKERS: Final = (  # outlines around (0, 0), of about the same area
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
    "M-3.6-3.6h7.2v7.2h-7.2z",
    "M0-4.7L4.6 3.5H-4.6z",
    "M0-5L5 0L0 5L-5 0z",
    "M0 4.7L4.6-3.5H-4.6z",
    "M-1.6-4.6h3.2v3h3v3.2h-3v3h-3.2v-3h-3v-3.2h3z",
)
STAR: Final = "M0-7L1.8-2.3L6.8-2.1L2.8 1L4.2 5.8L0 3L-4.2 5.8L-2.8 1L-6.8-2.1L-1.8-2.3z"


@dataclass(frozen=True, slots=True)
class Look:
    """Colour (the class of `chart.css`), strokes and marker of whatever belongs to one method."""

    color: str
    dash: str = ""
    marker: str = MARKERS[0]


BASELINE: Final = Look("ink")
TEACHER: Final = Look("soft", marker=STAR)
PLAIN: Final = Look("accent")


def looks_of(methods: Iterable[str], *, baseline: str) -> dict[str, Look]:
    """A look for each method, by its place in the list; that of the baseline is always the same."""
    looks = {baseline: BASELINE}
    others = [method for method in dict.fromkeys(methods) if method != baseline]
    for place, method in enumerate(others):
        color, lap = place % NUM_COLORS, place // NUM_COLORS
        looks[method] = Look(
            color=f"c{color + 1}",
            dash=DASHES[lap % len(DASHES)],
            marker=MARKERS[(1 + place + lap) % len(MARKERS)],
        )
    return looks
