"""Ranked bars: a name, a bar that lies, and its number, the largest first."""

from collections.abc import Mapping

from markupsafe import Markup

from kdray.reporting.charts.labels import shortened, width_of
from kdray.reporting.charts.markup import element, joined, path

ROW = 24.0  # pixels
WIDTH = 480.0
NAMES = 0.5  # share of the width that names may take up
NUMBER = 48.0  # pixels behind the longest bar


def draw_ranked(shares: Mapping[str, float], *, label: str) -> Markup:
    """One `<svg>` of shares from 0 to 1, in the order given."""
    left = 8 + min(NAMES * WIDTH, max((width_of(name) for name in shares), default=0.0))
    room = WIDTH - NUMBER - left
    longest = max([*shares.values(), 1e-9])
    parts = []
    for number, (name, share) in enumerate(shares.items()):
        y = ROW * number + ROW / 2
        parts.append(
            element(
                "g",
                element("title", f"{name}\n{share:.1%}"),
                element("text", shortened(name, left - 8), x=left - 8, y=y + 4, text_anchor="end"),
                element(
                    "rect",
                    class_="bar",
                    x=left,
                    y=y - 7,
                    width=max(1.0, room * share / longest),
                    height=14,
                    rx=2,
                ),
                element(
                    "text",
                    f"{share:.0%}",
                    class_="tick",
                    x=left + max(1.0, room * share / longest) + 6,
                    y=y + 4,
                ),
                class_="h accent",
            )
        )
    stem = element("path", class_="stroke", d=path([(left, 0), (left, ROW * len(shares))]))
    return element(
        "svg",
        joined(stem, *parts),
        class_="chart",
        viewBox=f"0 0 {WIDTH:.0f} {ROW * max(1, len(shares)):.0f}",
        role="img",
        tabindex="0",
        aria_label=label,
    )
