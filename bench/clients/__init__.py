"""The programs that people run exports in: each loads what Taut wrote, and gives its answers."""
