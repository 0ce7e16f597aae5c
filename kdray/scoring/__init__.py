"""How good and how fast a model is, and whether a difference is more than noise."""
