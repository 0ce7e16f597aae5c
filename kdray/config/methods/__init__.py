"""Configurations of distillation methods: one file for each kind, as in `kdray.methods`."""
