"""`-` and URLs as names: streams and what lies in stores, as files while a command runs.

A model is read more than once, and a Taut file's header is written last: neither goes through a
pipe. So what comes in, or goes out, lies in a temporary folder meanwhile.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec

from taut.errors import ArgumentError, TautError

P = ParamSpec("P")

STREAM = "-"
_INPUT = "standard-input.safetensors"
_OUTPUT = "standard-output"  # and a suffix
_SOURCES = ("model", "file", "files")
_MODELS = (*_SOURCES, "original", "into", "base")
_TEXTS = ("title",)  # options whose value may be any text
_WRITTEN = ("output", "html", "csv", "charts", "scratch")  # on this machine


def streaming(command: Callable[P, None]) -> Callable[P, None]:
    """`command` with `-` as its source and as its `-o`; both are files to it.

    Raises:
        ArgumentError: before the work: a stream is a terminal or closed, or wanted twice.
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        from taut.container.through_stores import telling_urls
        from taut.io.stores import url_of

        _check(kwargs)
        with contextlib.ExitStack() as stack, telling_urls():  # while the stack knows the URLs
            for name in _SOURCES:
                if _streams(kwargs.get(name)):
                    source = stack.enter_context(_standard_input())
                    kwargs[name] = _replaced(kwargs[name], source)
                elif (url := url_of(kwargs.get(name))) is not None and "output" in kwargs:
                    if kwargs["output"] is None:
                        raise ArgumentError(
                            f"{url}: is in a store; name where to write (-o), there or here"
                        )
                    kwargs[name] = _fetched(stack, url, kwargs[name], kwargs)
            to_output = _streams(kwargs.get("output"))
            if to_output:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="taut-"))
                kwargs["output"] = Path(folder, f"{_OUTPUT}.taut.safetensors")
            command(*args, **kwargs)
            if to_output:
                _to_standard_output(Path(folder))

    return run


def _fetched(
    stack: contextlib.ExitStack, url: str, given: object, options: dict[str, object]
) -> str | Path:
    """A local path for what lies in a store, and what is to be told of it."""
    from taut.cli._talk import Talk
    from taut.io.staged import notes_of_staged, staged

    local = stack.enter_context(staged(url))
    Talk(bool(options.get("quiet"))).notes(notes_of_staged(local))
    return local if isinstance(given, Path) else str(local)


def refusing_streams(
    *, but: tuple[str, ...] = ()
) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """A command that takes no `-`, but for the options named; it says so before it begins.

    Models that URLs name are local files to it.
    """

    def decorate(command: Callable[P, None]) -> Callable[P, None]:
        @functools.wraps(command)
        def run(*args: P.args, **kwargs: P.kwargs) -> None:
            for name, value in kwargs.items():
                if name not in (*but, *_TEXTS) and _streams(value):
                    told = name.upper() if name in (*_SOURCES, "out") else f"--{name}"
                    raise ArgumentError(f"{told}: - is a stream; name a file")
            with _on_this_machine(kwargs):
                command(*args, **kwargs)

        return run

    return decorate


@contextlib.contextmanager
def _on_this_machine(kwargs: dict[str, object]) -> Iterator[None]:
    """Local paths in place of the URLs of models; of an error, the URLs again.

    Raises:
        ArgumentError: an output is a URL, where it is to be a file of this machine.
    """
    from taut.container.through_stores import telling_urls
    from taut.io.stores import local_of, url_of

    for name in _WRITTEN:
        url = url_of(kwargs.get(name))
        if url is not None and local_of(url) is None:
            raise ArgumentError(f"{url}: is in a store; --{name} writes to this machine")
    with contextlib.ExitStack() as stack, telling_urls():
        for name in _MODELS:
            given = kwargs.get(name)
            if (url := url_of(given)) is not None:
                kwargs[name] = _fetched(stack, url, given, kwargs)
        yield


def shown(path: Path) -> str:
    """A path as messages name it: the streams by what they are."""
    from taut.io.staged import told_paths
    from taut.io.stores import url_of

    if is_standard_output(path):
        return "standard output"
    return "standard input" if path.name == _INPUT else url_of(path) or told_paths(str(path))


def is_standard_output(path: Path | None) -> bool:
    """Whether an output stands for standard output."""
    return path is not None and path.name.partition(".")[0] == _OUTPUT


def _check(given: dict[str, object]) -> None:
    """Raise `ArgumentError` where standard streams are asked for what they cannot do."""
    files = given.get("files")
    if isinstance(files, list) and [str(file) for file in files].count(STREAM) > 1:
        raise ArgumentError("FILE: standard input can be read once; give - once")
    if _streams(given.get("output")):
        _check_output(given)
    elif any(_streams(given.get(name)) for name in _SOURCES) and _wants_name(given):
        raise ArgumentError("-o: a model from standard input has no name; say where to write, or -")


def _wants_name(given: dict[str, object]) -> bool:
    """Whether the output is called after the source, since no name was given."""
    return "output" in given and given["output"] is None and not given.get("dry_run")


def _check_output(given: dict[str, object]) -> None:
    """Raise `ArgumentError` where standard output cannot take the file."""
    if given.get("json"):
        raise ArgumentError("--json: standard output is the file's (-o -); leave one of them out")
    if given.get("resume"):
        raise ArgumentError("--resume: goes on from what lies beside the output; name a file (-o)")
    _check_open()
    if sys.stdout.isatty():
        raise ArgumentError("-o -: standard output is a terminal; send it to a file or a pipe")


def _check_open() -> None:
    try:
        os.write(sys.stdout.fileno(), b"")
    except OSError as error:
        if error.errno == errno.EBADF:  # and not that it is no file at all, as in a host's tests
            raise ArgumentError("-o -: standard output is closed") from None


def _streams(value: object) -> bool:
    """Whether an option's value is the name of a stream, or has it among others."""
    if isinstance(value, list):
        return any(_streams(one) for one in value)
    return isinstance(value, str | Path) and str(value) == STREAM


def _replaced(value: object, source: Path) -> object:
    if isinstance(value, list):
        return [source if _streams(one) else one for one in value]
    return str(source) if isinstance(value, str) else source


@contextlib.contextmanager
def _standard_input() -> Iterator[Path]:
    """A file with all that comes in; errors name the stream."""
    if sys.stdin is None or sys.stdin.closed:
        raise ArgumentError("-: standard input is closed")
    if sys.stdin.isatty():
        raise ArgumentError("-: standard input is a terminal; pipe a model into it")
    with tempfile.TemporaryDirectory(prefix="taut-") as folder:
        path = Path(folder, _INPUT)
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file, 1 << 20)
        try:
            yield path
        except TautError as error:
            error.args = tuple(
                one.replace(str(path), "standard input") if isinstance(one, str) else one
                for one in error.args
            )
            raise


def _to_standard_output(folder: Path) -> None:
    """Send the one file that a command wrote; none after a dry run."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    if len(files) > 1:
        raise ArgumentError(f"-o -: the model becomes {len(files)} files; name a place (-o)")
    for path in files:
        with path.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer, 1 << 20)
        sys.stdout.buffer.flush()
