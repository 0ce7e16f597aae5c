"""Students in forms that other tools load."""
