"""What all students of a study have in equal measure: updates, target tokens or training time.

`kdray.plan.counts` works out how many updates each method makes for it.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from kdray.config.base import Frozen, Place


class EqualUpdatesConfig(Frozen):
    """Every method makes the updates of the training; a method of stages has lengths of its own."""

    kind: Literal["updates"]
    words: ClassVar[str] = "equal updates"
    costs: ClassVar[None] = None


class EqualTokensConfig(Frozen):
    """Every method reads the target tokens that the baseline reads in the training's updates.

    Without a table of costs, an update reads as many target sequences of a pair as the method
    declares; with one, as many tokens as were counted.
    """

    kind: Literal["target_tokens"]
    words: ClassVar[str] = "equal target tokens"
    costs: Place | None = None  # the costs.json of another report


class EqualTimeConfig(Frozen):
    """Every method trains as long as the baseline does for the training's updates."""

    kind: Literal["time"]
    words: ClassVar[str] = "equal training time"
    costs: Place  # the costs.json of another report


BudgetConfig = Annotated[
    EqualUpdatesConfig | EqualTokensConfig | EqualTimeConfig, Field(discriminator="kind")
]
"""`words` says in words what is equal: a finding holds at equal updates, say."""
