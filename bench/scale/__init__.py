"""What models larger than memory take: memory, CPU time, and what was foretold."""
