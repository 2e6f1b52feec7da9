"""Models for other runtimes, each run against the original before it is called done."""
