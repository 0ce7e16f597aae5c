"""What a search says: its trials, what mattered, what stopping cost, and the winner's verdict."""
