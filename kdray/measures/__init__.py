"""How complex a scenario is: measures of its text, and of what its teacher makes of it."""
