"""The stages: each a function of a `Study` that returns when its artifacts exist."""
