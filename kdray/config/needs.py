"""What a method asks of a teacher and of the run.

It imports no union of kinds, so that the packages that complete those can import it first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from kdray.schema import Form, View

StoredView = Literal[View.REFERENCE, View.HYPOTHESIS]

BOTH: tuple[StoredView, ...] = (View.REFERENCE, View.HYPOTHESIS)


@dataclass(frozen=True, slots=True)
class Needs:
    """What a method learns from, and what it asks of a teacher and of the run.

    views: the stored target sequences that it learns; an update counts the tokens of the first.
    distributions: for each view whose distributions it reads, the forms it can use, best first.
    temperature: of those distributions.
    chosen_among: of how many translations of each pair it learns a choice; None: the best one.
    scored_by: the score of the signals that chooses among them, if one does.
    all_hypotheses: whether it learns every translation that was chosen.
    one_teacher: whether it looks inside the teacher, so that an ensemble cannot serve.
    run_length: whether its updates depend on how long the run will be, so that runs of two lengths
        differ from the start and share no trunk.
    own_instead: whether what the student writes stands in the place of the stored sequence, and not
        beside it.
    """

    views: tuple[View, ...] = (View.REFERENCE,)
    distributions: Mapping[View, Sequence[Form]] = field(default_factory=dict)
    temperature: float = 1.0
    chosen_among: int | None = None
    scored_by: str | None = None
    all_hypotheses: bool = False
    one_teacher: bool = False
    run_length: bool = False
    own_instead: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for what no study can give.

        Distributions are given on what is learned, and on what the student writes.
        """
        if (
            not self.views
            or not set(self.views) <= set(BOTH)
            or len(set(self.views)) < len(self.views)
        ):
            raise ValueError(
                f"views {self.views!r} must be View.REFERENCE, View.HYPOTHESIS or both, each once"
            )
        for view, forms in self.distributions.items():
            if view not in (*self.views, View.STUDENT):
                raise ValueError(
                    f"distributions on {view!r} need that view among views {self.views!r}; add it "
                    "there, or read them on another"
                )
            if not forms or not all(isinstance(form, Form) for form in forms):
                raise ValueError(f"distributions on {view!r} as {forms!r} must be a tuple of Form")

    @property
    def sequences(self) -> int:
        """Target sequences of a pair that an update learns, the tokens of which are counted."""
        return len(self.views) + (View.STUDENT in self.distributions and not self.own_instead)

    @property
    def hypotheses(self) -> int:
        """Translations of each pair."""
        return (self.chosen_among or 1) if View.HYPOTHESIS in self.views else 0

    @property
    def a_teacher(self) -> bool:
        """Whether there must be one."""
        return bool(self.hypotheses or self.distributions)
