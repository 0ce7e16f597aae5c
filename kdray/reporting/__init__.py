"""What a study found: `analysis`, and the pages that tell it, from `write`."""
