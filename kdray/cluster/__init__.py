"""Ray, and nothing else: thin shells around layers that run without it."""
