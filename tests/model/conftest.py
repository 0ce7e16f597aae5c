"""Nano models that are trained on the toy task."""

from trained_translators import all_translators, translators

__all__ = ["all_translators", "translators"]
