"""The version, which journals and files remember."""

__version__ = "0.1.0"
