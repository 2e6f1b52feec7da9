"""The coding layer alone, on symbols and indices."""
