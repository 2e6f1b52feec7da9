"""What the ways without Taut are called, for those who ask for them and those who make them."""

from __future__ import annotations

INT8 = ("int8, brotli", "int8 by channel, brotli")
"""One scale a matrix, and one for each column."""
PLAIN = ("float32", "float16", *INT8)
