"""Training: a plain PyTorch loop whose state can be cut off anywhere and resumed exactly."""
