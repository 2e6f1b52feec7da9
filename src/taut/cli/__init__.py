"""The command line: a command a file, each calling one verb."""

import errno
import io
import os
import sys
from typing import NoReturn

__all__ = ["main"]

_INTERRUPTED = 130  # 128 + SIGINT, as shells report it
_PIPE_CLOSED = 141  # 128 + SIGPIPE


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        try:
            _hold_streams()
            from taut.cli._old_words import in_new_words
            from taut.cli.app import app  # inside, so that Ctrl-C is quiet this early too
            from taut.cli.completion import answer_shells

            answer_shells()
            app(in_new_words(sys.argv[1:]), prog_name="taut")
        finally:
            sys.stdout.flush()  # what takes nothing shows here, not at interpreter exit
    except KeyboardInterrupt:
        print("taut: interrupted", file=sys.stderr)
        sys.exit(_INTERRUPTED)
    except OSError as error:  # of help and version, which are printed outside of any command
        _end_without_stdout(error)


def _end_without_stdout(error: OSError) -> NoReturn:
    """Say why stdout takes nothing, and keep the interpreter from complaining when it flushes."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if error.errno == errno.EPIPE:
        sys.exit(_PIPE_CLOSED)
    closed = error.errno == errno.EBADF
    print(f"taut: {'standard output is closed' if closed else error.strerror}", file=sys.stderr)
    sys.exit(1)


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
