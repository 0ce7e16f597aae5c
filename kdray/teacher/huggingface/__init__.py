"""Teachers in the form of Hugging Face: converted for text, read by torch for distributions."""
