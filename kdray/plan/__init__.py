"""What an experiment will make, as an ordered tuple of steps, before any of it is made."""
