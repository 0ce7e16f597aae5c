"""Carrying out a plan: looking for what exists, making the rest, and telling who watches."""
