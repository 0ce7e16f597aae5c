"""Does the advantage of one method over another change along an axis?

The change is the slope of the advantage over the axis (least squares), in units of the whole axis:
from its lowest level to its highest, along the fitted line. A change that turns back is not seen.

Points of BLEU are not worth the same everywhere. Where all scores fall along the axis, differences
shrink with them although nothing changes between the methods. So the change is tested twice, in
points and in percent of the teacher's score at the same level, and it is called a change only if
both agree: each of two tests at a level keeps their conjunction at it (intersection-union test,
Berger 1982).
"""

from dataclasses import dataclass

import numpy as np

from kdray.statistics.axis import Advantage
from kdray.statistics.contrast import Comparison, Untested


@dataclass(frozen=True)
class Interaction:
    """By how much the advantage changes from the lowest to the highest level."""

    points: Comparison
    relative: Comparison  # in percent of the teacher's score

    @property
    def p(self) -> float | None:
        """The larger p of both, 1 if they contradict each other in sign, None if one is missing."""
        if isinstance(self.points, Untested) or isinstance(self.relative, Untested):
            return None
        if self.points.value * self.relative.value <= 0:
            return 1.0
        return max(self.points.p, self.relative.p)

    @property
    def reason(self) -> str | None:
        """Why it is untested, if it is."""
        for side in (self.points, self.relative):
            if isinstance(side, Untested):
                return side.reason
        return None


def interaction(advantage: Advantage) -> Interaction:
    """Test whether the advantage changes along its axis.

    Raises:
        DataError: a teacher has the score 0.
    """
    places = np.asarray(advantage.places, dtype=np.float64)
    centred = places - places.mean()
    weights = [float(each) for each in centred * np.ptp(places) / (centred @ centred)]
    return Interaction(
        points=advantage.weighted(weights), relative=advantage.weighted_relative(weights)
    )
