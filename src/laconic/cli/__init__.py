"""The command line: a command a file, each calling one verb of the library."""

from laconic.cli.app import main

__all__ = ["main"]
