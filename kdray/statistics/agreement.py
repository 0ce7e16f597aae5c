"""Would people agree that the better score is the better system?

From Kocmi, Zouhar, Federmann & Post (2024), "Navigating the Metrics Maze", ACL: of the pairs of
systems whose scores differ by Δ, people rank the share a / (1 + exp(-bΔ)) as the scores do; for
BLEU 50 % at 0.27, 60 % at 0.78, 70 % at 1.39, 80 % at 2.34 points. It was estimated on systems for
news and the like, between many languages. It hardly depends on the size of the test, and says
nothing of chance: a p does.
"""

from dataclasses import dataclass
from math import exp, floor
from typing import Final, Literal

CAVEAT: Final = (
    "Agreement of people is as estimated by Kocmi et al. (2024) for translations of news and the "
    "like; on other texts a difference may be worth more or less."
)


@dataclass(frozen=True)
class Curve:
    """How often people agree, as a function of a difference, and how far it was observed."""

    limit: float  # a: percent that no difference exceeds
    slope: float  # b: per point
    highest: float  # percent, the last in the paper's table

    def share(self, difference: float) -> float:
        """Percent of pairs of systems on which people agree, for a difference in points."""
        return self.limit / (1 + exp(-self.slope * abs(difference)))


CURVES: Final = {  # the authors' fit, from the tool they published beside the paper
    "bleu": Curve(limit=88.333, slope=0.96639, highest=85),
    "chrf": Curve(limit=93.0, slope=1.11427, highest=90),
}
COIN: Final = 50  # percent; the lowest in the paper's table


@dataclass(frozen=True)
class Agreement:
    """The estimated share of pairs of systems that people rank as the score does."""

    percent: int
    bound: Literal["about", "under", "over"]

    def __str__(self) -> str:
        return f"{self.bound} {self.percent} %"


def human_agreement(metric: str, difference: float) -> Agreement:
    """How often people would agree with the sign of a difference in points.

    The metric is one of `CURVES`. Below 50 % it is "under 50 %" (a coin does as well), and beyond
    the paper's table "over".
    """
    curve = CURVES[metric]
    percent = curve.share(difference)
    if percent < COIN:
        return Agreement(COIN, "under")
    if percent > curve.highest:
        return Agreement(floor(curve.highest), "over")
    return Agreement(round(percent), "about")
