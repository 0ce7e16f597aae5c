"""A package that is no part of kdray and adds kinds to it."""
