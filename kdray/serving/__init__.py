"""Answers requests over HTTP with translations, as LibreTranslate does; knows nothing of Ray."""
