"""A configuration to start with, written by looking at a user's files."""
