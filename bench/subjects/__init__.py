"""Models that are judged by what they do, with their data."""
