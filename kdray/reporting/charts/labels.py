"""Where do names stand, so that none lies over another one?"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression

EM = 12.0  # pixels of the font
GAP = 14.0  # pixels between the baselines of two names


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: "Box") -> bool:
        """Whether the two have an area in common."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )

    def holds(self, other: "Box") -> bool:
        """Whether the other one lies inside."""
        return (
            self.left <= other.left
            and self.top <= other.top
            and other.right <= self.right
            and other.bottom <= self.bottom
        )


def width_of(text: str) -> float:
    """Pixels that a text takes up at most, in a usual font without serifs."""
    return sum(_width(character) for character in text)


def shortened(text: str, most: float) -> str:
    """The text, or as much of its beginning as has room, with an ellipsis."""
    if width_of(text) <= most:
        return text
    while text and width_of(f"{text}…") > most:
        text = text[:-1]
    return f"{text}…"


def spread_apart(
    places: Sequence[float], gap: float, *, low: float = -np.inf, high: float = np.inf
) -> list[float]:
    """Move ascending places as little as possible so that they are at least `gap` apart.

    Places less their numbers' gaps have to ascend: this is isotonic regression. They stay between
    `low` and `high` if there is room for all.
    """
    gaps = gap * np.arange(len(places))
    free = isotonic_regression(np.asarray(places) - gaps).x if len(places) else gaps
    last = max(low, high - (gaps[-1] if len(places) else 0.0))
    moved: list[float] = (np.clip(free, low, last) + gaps).tolist()
    return moved


def place_beside(
    points: Sequence[tuple[float, float, str]], *, frame: Box, taken: Sequence[Box] = ()
) -> list[Box | None]:
    """A place for the name of each (x, y, name): right, left, above or below, inside the frame.

    None where every place would lie over another name, or over a marker.
    """
    markers = [Box(x - 4, y - 4, x + 4, y + 4) for x, y, _ in points]
    filled, boxes = list(taken), list[Box | None]()
    for number, (x, y, name) in enumerate(points):
        width = width_of(name)
        around = (
            Box(x + 8, y - 7, x + 8 + width, y + 7),
            Box(x - 8 - width, y - 7, x - 8, y + 7),
            Box(x - width / 2, y - 20, x + width / 2, y - 6),
            Box(x - width / 2, y + 6, x + width / 2, y + 20),
        )
        others = [*filled, *(box for place, box in enumerate(markers) if place != number)]
        free = (box for box in around if frame.holds(box) and not any(map(box.meets, others)))
        box = next(free, None)
        filled += [box] if box else []
        boxes.append(box)
    return boxes


def _width(character: str) -> float:
    if unicodedata.east_asian_width(character) in "WF":
        return EM
    if unicodedata.combining(character):
        return 0.0
    return EM * (0.72 if character.isupper() or character in "mwMW%" else 0.56)
