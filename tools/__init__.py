"""Writes what is worked out from the code: a schema for editors, pages, a list of licences."""
