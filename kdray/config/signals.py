"""What a teacher leaves behind for its students."""

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from kdray.config.base import Frozen, Name
from kdray.config.needs import BOTH, Needs, StoredView
from kdray.config.scores import ScoreConfig
from kdray.schema import Form, View

Temperature = Annotated[float, Field(gt=0)]


class DrawnConfig(Frozen):
    """Translations that are drawn, each pair with random numbers of its own."""

    temperature: Temperature = 1.0
    top_k: int | None = Field(default=None, ge=1)  # only so many of the likeliest tokens
    top_p: float = Field(default=1.0, gt=0, le=1)  # only the likeliest, which have this mass
    seed: int = Field(default=1, ge=0)


class HypothesesConfig(Frozen):
    """How the training sources are translated: by a beam search, or drawn."""

    beam: int = Field(default=5, ge=1, le=64)
    num_hyps: int = Field(default=1, ge=1, le=64)
    length_penalty: float = Field(default=1.0, ge=0)
    max_length_ratio: float = Field(default=2.0, gt=0)  # hypothesis tokens per source token
    max_length_slack: int = Field(default=10, ge=1)  # tokens added to that
    # no sequence of so many tokens stands in a translation twice; 0: any may
    no_repeat_ngram: int = Field(default=0, ge=0, le=100)
    prefix: str = ""  # what every translation begins with, and what is taken off it again
    sampling: DrawnConfig | None = None  # instead of a beam

    def identity(self) -> dict[str, Any]:
        """What decides translations, for fingerprints: what is not asked for is left out."""
        unused = {"beam", "length_penalty"} if self.sampling else {"sampling"}
        unused |= set() if self.no_repeat_ngram else {"no_repeat_ngram"}
        unused |= set() if self.prefix else {"prefix"}
        return self.model_dump(mode="json", exclude=unused)

    @property
    def modes(self) -> frozenset[str]:
        """What is asked for that not every teacher can do; see `Teacher.modes`."""
        return frozenset(
            name for name in ("no_repeat_ngram", "prefix", "sampling") if getattr(self, name)
        )

    @property
    def words(self) -> str:
        """The way to translate, in words."""
        return f"{self.num_hyps} drawn" if self.sampling else f"beam {self.beam}"

    @model_validator(mode="after")
    def _beam_holds_them(self) -> Self:
        if self.sampling is None and self.num_hyps > self.beam:
            raise ValueError(
                f"num_hyps {self.num_hyps} is more than a beam of {self.beam} holds; widen the beam"
            )
        return self


class TopKConfig(Frozen):
    """Teacher-forced top-k distributions with the mass of the rest, for each temperature."""

    k: int = Field(default=32, ge=1)
    temperatures: tuple[Temperature, ...] = Field(default=(1.0,), min_length=1)
    on: tuple[StoredView, ...] = Field(default=BOTH, min_length=1)


class SampledConfig(Frozen):
    """Counts of draws with replacement from the teacher-forced distributions (Anshumann 2025)."""

    draws: int = Field(default=50, ge=1, le=255)
    seed: int = Field(default=1, ge=0)
    on: tuple[StoredView, ...] = Field(default=BOTH, min_length=1)


class HiddenConfig(Frozen):
    """The teacher's last decoder states: exact distributions for any temperature."""

    on: tuple[StoredView, ...] = Field(default=BOTH, min_length=1)


class SignalsConfig(Frozen):
    """What the teacher gives; null gives nothing of that kind."""

    hypotheses: HypothesesConfig | None = HypothesesConfig()
    scores: dict[Name, ScoreConfig] = Field(default_factory=dict)  # of the hypotheses
    topk: TopKConfig | None = TopKConfig()
    sampled: SampledConfig | None = None
    hidden: HiddenConfig | None = None
    online: bool = False  # the teacher may run beside the student in every training step

    def distributions(self, form: Form) -> TopKConfig | SampledConfig | HiddenConfig | None:
        """The settings of a stored form; None if it is not stored."""
        stored = {Form.TOPK: self.topk, Form.SAMPLED: self.sampled, Form.HIDDEN: self.hidden}
        return stored.get(form)

    def forms(self, view: View) -> list[Form]:
        """The forms in which distributions on a view can be had."""
        if view is View.HYPOTHESIS and self.hypotheses is None:
            return []
        forms = [
            form for form in Form if (config := self.distributions(form)) and view in config.on
        ]
        return [*forms, Form.ONLINE] if self.online else forms

    def best(self, needs: Needs, view: View) -> Form:
        """The best form that is there for what a method reads.

        Raises:
            ValueError: none of those that the method can use is there, or not at its temperature.
        """
        there = self.forms(view)
        for form in needs.distributions[view]:
            if form in there and self._has(form, needs.temperature):
                return form
        usable = needs.distributions[view]
        if set(there) & set(usable):
            stored = [1.0] if self.topk is None else list(self.topk.temperatures)
            raise ValueError(
                f"uses temperature {needs.temperature:g}, but the teacher stores {stored}; "
                "add it to `recipe.signals.topk.temperatures`"
            )
        either = " or ".join(usable)
        raise ValueError(
            f"needs distributions on {view} as {either}, but the teacher gives "
            f"{', '.join(there) or 'none'} there; add {either} to `recipe.signals`"
        )

    def check(self, needs: Needs) -> None:
        """Raise ValueError if a method needs what the teacher does not give."""
        wanted, config = needs.hypotheses, self.hypotheses
        if wanted and config is None:
            raise ValueError(
                "needs hypotheses, but the teacher gives none; set `recipe.signals.hypotheses`"
            )
        if config is not None and wanted > config.num_hyps:
            raise ValueError(
                f"needs {wanted} hypotheses of each pair, but the teacher gives {config.num_hyps}; "
                "raise `recipe.signals.hypotheses.num_hyps`, and `beam` with it"
            )
        if needs.scored_by is not None and needs.scored_by not in self.scores:
            there = ", ".join(self.scores) or "none"
            raise ValueError(
                f"chooses by {needs.scored_by!r}, but `recipe.signals.scores` has {there}; add it"
            )
        for view in needs.distributions:
            self.best(needs, view)

    def _has(self, form: Form, temperature: float) -> bool:
        """Whether a form that is there serves a temperature."""
        if form is Form.TOPK:
            return self.topk is not None and temperature in self.topk.temperatures
        return form is not Form.SAMPLED or temperature == 1.0
