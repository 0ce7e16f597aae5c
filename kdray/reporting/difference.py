"""A difference between two methods, as a report tells it, and what it is worth."""

from dataclasses import dataclass, replace
from enum import StrEnum

from kdray.statistics.multiplicity import LEVEL


class Finding(StrEnum):
    """What a difference is worth.

    A finding is a difference whose p, after Holm's correction over all comparisons of the report in
    that metric, is below 5 %. Both sentences and seeds are in that p (`kdray.statistics.contrast`).
    """

    SIGNIFICANT = "significant"
    NOT_SIGNIFICANT = "n.s."
    SEED_NOISE_UNKNOWN = "seed noise unknown"  # p below 5 % for these very models
    UNTESTED = "untested"


@dataclass(frozen=True)
class Difference:
    """One method minus another at one size and length in one metric, in the metric's own unit.

    Attributes:
        group: size and length in words.
        low, high: the ends of the 95 % interval.
        p_uncorrected, p: before and after the correction; None on dev, and where `reason` says why.
        p_of_models: what the sentences alone say of these very models, where one seed leaves the
            noise of seeds unknown; not corrected.
        agreement: how many people would agree with the sign, in words.
        what_next: what it would take to find it, in words.
    """

    group: str
    method: str
    other: str
    metric: str
    value: float
    higher_is_better: bool = True
    low: float | None = None
    high: float | None = None
    p_uncorrected: float | None = None
    p: float | None = None
    p_of_models: float | None = None
    reason: str = ""
    agreement: str = ""
    what_next: str = ""

    @property
    def finding(self) -> Finding:
        """What the difference is worth."""
        if self.p is not None:
            return Finding.SIGNIFICANT if self.p < LEVEL else Finding.NOT_SIGNIFICANT
        if self.p_of_models is not None and self.p_of_models < LEVEL:
            return Finding.SEED_NOISE_UNKNOWN
        return Finding.UNTESTED

    @property
    def is_finding(self) -> bool:
        """Whether it is significant, in either direction."""
        return self.finding is Finding.SIGNIFICANT

    @property
    def is_better(self) -> bool:
        """Whether the metric prefers the method to the other one."""
        return (self.value > 0) == self.higher_is_better and self.value != 0

    @property
    def half_width(self) -> float | None:
        """Half of the 95 % interval."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    def of(self, method: str) -> "Difference":
        """The same difference, told of the other side if that is the method."""
        if method == self.method:
            return self
        assert method == self.other, "it is one of the two"
        turned = replace(self, method=self.other, other=self.method, value=-self.value)
        if self.low is None or self.high is None:
            return turned
        return replace(turned, low=-self.high, high=-self.low)
