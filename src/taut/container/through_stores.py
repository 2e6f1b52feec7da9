"""A function of local paths that takes URLs of stores, and open files, as well."""

from __future__ import annotations

import contextlib
import functools
import weakref
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass, replace
from inspect import signature
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from taut.container.deliver import delivered
from taut.container.find import SUFFIX
from taut.errors import ArgumentError, TautError
from taut.io.file_objects import check_stream, held, is_stream, sent, stream_name
from taut.io.model_file import ModelFile
from taut.io.staged import notes_of_staged, staged, told_paths
from taut.io.stores import local_of, url_of

P = ParamSpec("P")
T = TypeVar("T")
_BASE = "base"  # what a model is told apart from
_WRITTEN = ("out", "journal", "scratch")  # arguments that are written to, if they are no target
_KIND: Any = type(Path())


class UrlPath(_KIND):  # type: ignore[misc]  # the kind of this system
    """A path as results have them, of what lies in a store: as text it is the URL."""

    __slots__ = ()

    def __str__(self) -> str:
        """The URL."""
        text = self.as_posix()
        protocol, colon, rest = text.partition(":/")
        return f"{protocol}://{rest.lstrip('/')}" if colon else text

    def as_posix(self) -> str:
        """The path with one slash, as every path has it."""
        return str(super().__str__()).replace("\\", "/")


def through_stores(
    source: str | tuple[str, ...],
    target: str | None = None,
    *,
    keep: bool = False,
    glance: Callable[[dict[str, Any]], bool] | None = None,
    suffix: Callable[[dict[str, Any]], str] = lambda given: SUFFIX,
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Let a function's arguments `source` (one, or several), `base` and `target` be URLs or files.

    The function gets local paths; its errors, and the paths of its result, name the URLs, or the
    streams. With `keep` what is read stays for as long as the result does. `glance` says of the
    arguments that Taut files are only looked at, or read in part (see `staged`). `suffix` says of
    them, as local paths, how a file's name ends that a stream gets.
    """
    sources = (*((source,) if isinstance(source, str) else source), _BASE)

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        form = signature(function)

        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> T:
            given = form.bind(*args, **kwargs)
            _check_local(given.arguments, target)
            to = _target(given.arguments, target)
            if to is None and not any(_is_outside(given.arguments.get(one)) for one in sources):
                return function(*args, **kwargs)
            _check_resume(given.arguments, to)
            with contextlib.ExitStack() as stack, telling_urls():
                part = glance is not None and glance(given.arguments)
                here = _Here(stack, watched=not keep, glance=part)
                for name in (one for one in sources if one in given.arguments):
                    given.arguments[name] = here.local(given.arguments[name])
                if target is not None and isinstance(to, str):
                    force = bool(given.arguments.get("force", False))
                    given.arguments[target] = stack.enter_context(delivered(to, force=force))
                elif target is not None and to is not None:
                    name = f"stream{suffix(given.arguments)}"
                    given.arguments[target] = stack.enter_context(sent(to, name))
                found = _renamed(function(*given.args, **given.kwargs), here.notes)
                if keep:
                    weakref.finalize(found, stack.pop_all().close)
                return found

        return run

    return decorate


@contextlib.contextmanager
def telling_urls() -> Iterator[None]:
    """Of errors of the body, name URLs where they name local files that stand for them."""
    try:
        yield
    except TautError as error:
        error.args = tuple(told_paths(a) if isinstance(a, str) else a for a in error.args)
        raise


class _Here:
    """Brings what URLs name to this machine, for as long as a stack is open; `notes` tell of it."""

    def __init__(self, stack: contextlib.ExitStack, *, watched: bool, glance: bool) -> None:
        self.notes: tuple[str, ...] = ()
        self._stack, self._watched, self._glance = stack, watched, glance

    def local(self, value: object) -> object:
        """A value with local paths for the URLs and streams in it."""
        if isinstance(value, (list, tuple)) and _is_outside(value):
            return type(value)(map(self.local, value))
        if is_stream(value):
            return self._stack.enter_context(held(value))
        url = _url(value)
        if url is None:
            return value
        path = self._stack.enter_context(staged(url, watched=self._watched, glance=self._glance))
        self.notes += notes_of_staged(path)
        return replace(value, path=path) if isinstance(value, ModelFile) else path


def _url(value: object) -> str | None:
    return url_of(value.path if isinstance(value, ModelFile) else value)


def _is_outside(value: object) -> bool:
    """Whether a value is a URL or a stream, or has one among paths."""
    if isinstance(value, (list, tuple)):
        return any(is_stream(one) or bool(url_of(one)) for one in value)
    return is_stream(value) or _url(value) is not None


def _target(arguments: dict[str, Any], target: str | None) -> object:
    """Where to write, if that is a URL or a stream, and anything is to be written."""
    if target is None or arguments.get("dry_run"):
        return None
    to = arguments.get(target)
    if is_stream(to):
        check_stream(to, "write")
        return to
    return url_of(to)


def _check_local(arguments: dict[str, Any], target: str | None) -> None:
    for name in _WRITTEN:
        url = None if name == target else url_of(arguments.get(name))
        if url is not None and local_of(url) is None:
            raise ArgumentError(f"{url}: is in a store; {name} is written on this machine")


def _check_resume(arguments: dict[str, Any], target: object) -> None:
    if target is not None and arguments.get("resume"):
        name = target if isinstance(target, str) else stream_name(target)
        where = "in a store" if isinstance(target, str) else "a stream"
        raise ArgumentError(
            f"{name}: resume (--resume): what a run keeps lies beside its output, which is {where}"
            "; write to this machine, and copy what comes of it"
        )


def _renamed(result: T, notes: tuple[str, ...]) -> T:
    """The result with URLs for its paths, and with what is to be told of what was fetched."""
    if isinstance(result, Path):
        return cast(T, _url_path(result))
    if not is_dataclass(result) or isinstance(result, type):
        return result
    changed = _paths_changed(result)
    if notes and isinstance(told := getattr(result, "notes", None), tuple):
        changed["notes"] = (*notes, *told)
    return replace(result, **changed) if changed else result


def _paths_changed(result: object) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    for name in ("path", "files"):
        value = getattr(result, name, None)
        if isinstance(value, Path):
            changed[name] = _url_path(value)
        elif isinstance(value, tuple) and value and isinstance(value[0], Path):
            changed[name] = tuple(map(_url_path, value))
    return changed


def _url_path(path: Path) -> Path:
    told = told_paths(str(path))
    return path if told == str(path) else UrlPath(told)
