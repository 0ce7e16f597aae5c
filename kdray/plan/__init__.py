"""What an experiment will make, under which fingerprints, before any of it is made."""

from kdray.plan.experiment import Plan, brought_checksum, make_plan, scores_key
from kdray.plan.models import TEACHER, ModelPlan, trained_updates
from kdray.plan.signals import SignalPlan, StudentSignals
from kdray.plan.students import student_plan

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
    "trained_updates",
]
