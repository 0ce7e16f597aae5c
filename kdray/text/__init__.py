"""Text: sentence pairs read, cleaned, generated, cut into pieces and laid into batches."""
