"""From exceptions to exit codes: users see one line, never a traceback, for what is not a bug."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import ParamSpec

import typer

from taut.errors import ArgumentError, TargetError, TautError, VerifyError

P = ParamSpec("P")

FAILED, USAGE, TARGET_MISSED, DAMAGED = 1, 2, 3, 4
INTERRUPTED = 130  # 128 + SIGINT, as shells report it
PIPE_CLOSED = 141  # 128 + SIGPIPE
_ENDS = ("SIGTERM", "SIGHUP")  # how a run is told to end; Windows has no SIGHUP


def exit_code(error: TautError) -> int:
    """The exit code for `error`: 2 usage, 3 target not reached, 4 verification failed, else 1."""
    if isinstance(error, ArgumentError):
        return USAGE
    if isinstance(error, TargetError):
        return TARGET_MISSED
    if isinstance(error, VerifyError):
        return DAMAGED
    return FAILED


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """`command` with its expected failures turned into one line on stderr and an exit code.

    With `--json`, stdout also gets `{"error": message, "kind": class name}`, and "best" where a
    target was missed. Bugs pass through.
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        as_json = bool(kwargs.get("json"))
        try:
            with _terminable():
                command(*args, **kwargs)
            sys.stdout.flush()  # a closed pipe shows here, not at interpreter exit
        except _Terminated as ended:
            say(ended.words)
            raise typer.Exit(ended.code) from None
        except KeyboardInterrupt:
            say("interrupted")
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            _silence_stdout()
            raise typer.Exit(PIPE_CLOSED) from None
        except TautError as error:
            _report(str(error), type(error).__name__, as_json, best=getattr(error, "best", None))
            raise typer.Exit(exit_code(error)) from None
        except OSError as error:
            _report(_os_message(error), "OSError", as_json)
            raise typer.Exit(FAILED) from None
        except MemoryError:
            _report("out of memory", "MemoryError", as_json)
            raise typer.Exit(FAILED) from None

    return run


class _Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP, as an exception: what is half-written is cleared away as after Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.code = 128 + number
        self.words = "terminated" if number == signal.SIGTERM else "its terminal is gone"


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Raise on SIGTERM and SIGHUP while a command runs; who handles or ignores them keeps that."""
    inside = threading.current_thread() is threading.main_thread()
    known = [getattr(signal, name) for name in _ENDS if hasattr(signal, name)]
    ours = [one for one in known if inside and signal.getsignal(one) is signal.SIG_DFL]

    def stop(number: int, frame: object) -> None:
        raise _Terminated(number)

    for one in ours:
        signal.signal(one, stop)
    try:
        yield
    finally:
        for one in ours:
            signal.signal(one, signal.SIG_DFL)


def _report(message: str, kind: str, as_json: bool, best: object = None) -> None:
    say(message)
    tree: dict[str, object] = {"error": message, "kind": kind}
    if dataclasses.is_dataclass(best) and not isinstance(best, type):
        tree["best"] = dataclasses.asdict(best)
    try:
        if as_json:
            print(json.dumps(tree))
        sys.stdout.flush()
    except OSError:  # stdout itself is what failed
        _silence_stdout()


def say(message: str) -> None:
    """Print one line on stderr, signed; a terminal that is gone hears nothing."""
    with contextlib.suppress(OSError):
        print(f"taut: {message}", file=sys.stderr, flush=True)


def _os_message(error: OSError) -> str:
    if error.errno == errno.EBADF and error.filename is None:
        return "standard output is closed"
    reason = error.strerror or str(error)
    return reason if error.filename is None else f"{error.filename}: {reason}"


def _silence_stdout() -> None:
    """Point stdout at nothing, or the interpreter complains when it flushes at exit."""
    # Suppressed: stdout is no real file (a test's buffer), and nothing will complain.
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
