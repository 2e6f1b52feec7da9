"""The bench: every number that Taut claims, from a script."""
