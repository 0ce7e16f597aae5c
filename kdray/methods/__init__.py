"""Distillation methods: each turns a batch and a student into a loss. Start at `base`."""
