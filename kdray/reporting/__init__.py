"""What a study found: tables, a verdict in words, plots, one page. Start at `write`."""
