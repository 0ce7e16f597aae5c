"""A package beside kdray that adds kinds of its own, as any package can that is installed."""
