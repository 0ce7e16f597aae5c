"""What a study found, as charts: one file for each question that a reader asks."""
