"""The command line: a command a file, each calling one verb."""

import sys

__all__ = ["main"]

_INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        from taut.cli.app import app  # inside, so that Ctrl-C is quiet this early too

        app(prog_name="taut")
    except KeyboardInterrupt:
        print("taut: interrupted", file=sys.stderr)
        sys.exit(_INTERRUPTED)
