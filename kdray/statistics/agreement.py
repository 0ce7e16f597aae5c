"""How many human judges would agree that the better score is the better system?

From Kocmi, Zouhar, Federmann & Post (2024), "Navigating the Metrics Maze", ACL, section 4: among
pairs of systems whose scores differ by Δ, the share of those that people rank alike follows
a / (1 + exp(-bΔ)); BLEU: 50 % at 0.27, 60 % at 0.78, 70 % at 1.39, 80 % at 2.34 points. It was
estimated on systems for news and the like, between many languages, and on BLEU of whole words. It
does not depend on the size of the test, and says nothing of chance: a p does.
"""

from dataclasses import dataclass
from math import exp, floor
from typing import Final, Literal

CAVEAT: Final = (
    "Shares of human judges are estimates of Kocmi et al. (2024) for translations of news and the "
    "like; on other texts a difference may be worth more or less."
)


@dataclass(frozen=True)
class Curve:
    """The share of judges that agree, as a function of a difference, and where it was observed."""

    limit: float  # a: percent of judges that no difference exceeds
    slope: float  # b: per point
    highest: float  # percent, the last in the paper's table

    def share(self, difference: float) -> float:
        """Percent of judges who agree on a difference in points, of either sign."""
        return self.limit / (1 + exp(-self.slope * abs(difference)))


CURVES: Final = {  # the authors' fit, from the tool they published beside the paper
    "bleu": Curve(limit=88.333, slope=0.96639, highest=85),
    "chrf": Curve(limit=93.0, slope=1.11427, highest=90),
}
COIN: Final = 50  # percent; the lowest in the paper's table


@dataclass(frozen=True)
class Agreement:
    """The estimated share of judges, in percent."""

    percent: int
    bound: Literal["about", "under", "over"]

    def __str__(self) -> str:
        return f"{self.bound} {self.percent} %"


def human_agreement(metric: Literal["bleu", "chrf"], difference: float) -> Agreement:
    """The share of human judges expected to agree with the sign of a difference in points.

    Below 50 % it is "under 50 %" (a coin does as well), and beyond the paper's table "over".
    """
    curve = CURVES[metric]
    percent = curve.share(difference)
    if percent < COIN:
        return Agreement(COIN, "under")
    if percent > curve.highest:
        return Agreement(floor(curve.highest), "over")
    return Agreement(round(percent), "about")
