"""The command line: a command a file, each calling one verb."""

import io
import os
import sys

__all__ = ["main"]

_INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        _hold_streams()
        from taut.cli._old_words import in_new_words
        from taut.cli.app import app  # inside, so that Ctrl-C is quiet this early too

        app(in_new_words(sys.argv[1:]), prog_name="taut")
    except KeyboardInterrupt:
        print("taut: interrupted", file=sys.stderr)
        sys.exit(_INTERRUPTED)


def _hold_streams() -> None:
    """Have standard streams take every character, and closed ones be something.

    Or else the next file that is opened would be the stream, and get what others print. What is
    written to a closed stdout is an error; what is said on a closed stderr is lost.
    """
    if sys.stdin is None:
        os.open(os.devnull, os.O_RDONLY)
    if sys.stdout is None:
        sys.stdout = open(os.open(os.devnull, os.O_RDONLY), "w")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.open(os.devnull, os.O_WRONLY), "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
