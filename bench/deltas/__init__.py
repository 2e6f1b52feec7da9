"""Models that differ from a base: deltas of ours and of others, in one run."""
