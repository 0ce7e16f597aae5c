"""Translates a user's lines with a student or a teacher: in order, and as many as came in."""
