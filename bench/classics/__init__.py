"""The classic tables of trained, pruned and distilled networks."""
