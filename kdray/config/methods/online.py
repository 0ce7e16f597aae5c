"""Methods that need the teacher beside the student in every training step."""

from typing import Literal

from pydantic import Field

from kdray.config.base import Fraction, LabelSmoothing
from kdray.config.methods.base import Online
from kdray.config.signals import Needs
from kdray.schema import View


class TieConfig(Online):
    """Top-1 information enhanced distillation: KL and a ranking loss, iterated (Zhang 2023)."""

    kind: Literal["tie"]
    alpha: Fraction = 0.5
    k: int = Field(default=5, ge=1)
    passes: int = Field(default=3, ge=1)
    label_smoothing: LabelSmoothing = 0.1


class ImitationConfig(Online):
    """The teacher's word for prefixes that the student made (Lin et al. 2020).

    Sentences take student prefixes with probability 1 − base^(−i/N), i of N the update.
    """

    kind: Literal["imitation"]
    target: Literal["distribution", "argmax"] = "distribution"
    base: float = Field(default=200.0, gt=1)
    refresh: int = Field(default=4, ge=1)  # updates between two copies of the student that writes

    def needs(self) -> Needs:
        """Distributions on the student's sequences, of which there are more as the run goes on."""
        return Needs(distributions=self.on(View.STUDENT), run_length=True)


class OnPolicyConfig(Online):
    """(1−λ)·D on references + λ·D on sequences that the student samples (Agarwal et al. 2024)."""

    kind: Literal["on_policy"]
    student_share: Fraction = 0.5  # λ
    divergence: Literal["forward", "reverse", "jensen_shannon"] = "jensen_shannon"
    beta: float = Field(default=0.5, gt=0, lt=1)
    temperature: float = Field(default=1.0, gt=0)  # of the sampling

    def needs(self) -> Needs:
        """Distributions on the references, and on the student's sequences if there are any."""
        own = (View.STUDENT,) if self.student_share else ()
        return Needs(distributions=self.on(View.REFERENCE, *own))


class FeatureConfig(Online):
    """token_level, plus hidden states and attention maps of mapped teacher layers (A2D, MiniLM)."""

    kind: Literal["feature"]
    alpha: Fraction = 0.5
    temperature: float = Field(default=1.0, gt=0)
    states: Literal["normalised", "raw"] = "normalised"  # the teacher's
    hidden_weight: float = Field(default=1.0, ge=0)
    attention_weight: float = Field(default=1.0, ge=0)
    decay: float = Field(default=0.9, gt=0, le=1)  # of both weights, each epoch
    label_smoothing: LabelSmoothing = 0.1

    def needs(self) -> Needs:
        """Distributions on the references, and what is inside the teacher that gives them."""
        return Needs(
            distributions=self.on(View.REFERENCE), temperature=self.temperature, one_teacher=True
        )
