"""Configuration of `hybrid`."""

from typing import Literal, Self

from pydantic import Field, model_validator

from kdray.config.gates import FixedGateConfig, GateConfig
from kdray.config.methods.base import Distilled
from kdray.config.needs import Needs
from kdray.schema import Form, View


class HybridConfig(Distilled):
    """g·L_token + (1−g)·L_sentence, each per token before mixing (Wei et al. 2024).

    `two_pass` takes L_token on the reference and L_sentence on the hypothesis, with one encoder
    pass; `one_pass` takes both on the hypothesis.
    """

    kind: Literal["hybrid"]
    gate: GateConfig = FixedGateConfig(kind="fixed")
    layout: Literal["two_pass", "one_pass"] = "two_pass"
    temperature: float = Field(default=1.0, gt=0)

    def usable(self) -> tuple[Form, ...]:
        """Draws tell neither the teacher's entropy nor the probability of a target."""
        forms = super().usable()
        if self.gate.reads_teacher:
            return tuple(form for form in forms if form is not Form.SAMPLED)
        return forms

    @model_validator(mode="after")
    def _one_prefix(self) -> Self:
        if self.layout == "two_pass" and self.gate.per_token:
            raise ValueError(
                f"gate {self.gate.kind} gives each target token a weight of its own, and in the "
                "layout two_pass the two losses have different target tokens; use layout one_pass, "
                "or a gate for each sentence"
            )
        return self

    def needs(self) -> Needs:
        """The distributions of L_token, on the first view, and the hypothesis of L_sentence."""
        first = (View.REFERENCE,) if self.layout == "two_pass" else ()
        views = (*first, View.HYPOTHESIS)
        return Needs(
            views=views,
            distributions=self.on(views[0]),
            temperature=self.temperature,
            run_length=self.gate.follows_length,
        )
