"""kdray: an experiment orchestrator for knowledge distillation of translation models."""

__version__ = "0.1.0"
