"""What an experiment will make, under which fingerprints, before any of it is made."""

from kdray.plan.experiment import (
    TEACHER,
    ModelPlan,
    Plan,
    brought_checksum,
    make_plan,
    scores_key,
    student_plan,
)
from kdray.plan.signals import SignalPlan, StudentSignals

__all__ = [
    "TEACHER",
    "ModelPlan",
    "Plan",
    "SignalPlan",
    "StudentSignals",
    "brought_checksum",
    "make_plan",
    "scores_key",
    "student_plan",
]
