"""A function of local paths that takes URLs of stores as well."""

from __future__ import annotations

import contextlib
import functools
import weakref
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass, replace
from inspect import signature
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from taut.container.deliver import delivered
from taut.errors import ArgumentError, TautError
from taut.io.model_file import ModelFile
from taut.io.staged import staged, told_paths
from taut.io.stores import url_of

P = ParamSpec("P")
T = TypeVar("T")
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
    source: str, target: str | None = None, *, keep: bool = False
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Let a function's arguments `source` and `target` be URLs.

    The function gets local paths; its errors, and the paths of its result, name the URLs. With
    `keep` what is read stays for as long as the result does.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        form = signature(function)

        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> T:
            given = form.bind(*args, **kwargs)
            urls = _urls(given.arguments, source, target)
            if not urls:
                return function(*args, **kwargs)
            _check_resume(given.arguments, urls.get(str(target)))
            with contextlib.ExitStack() as stack, telling_urls():
                if source in urls:
                    local = stack.enter_context(staged(urls[source], watched=not keep))
                    given.arguments[source] = _as_given(given.arguments[source], local)
                if target is not None and target in urls:
                    force = bool(given.arguments.get("force", False))
                    way = delivered(urls[target], force=force)
                    given.arguments[target] = stack.enter_context(way)
                found = _renamed(function(*given.args, **given.kwargs))
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


def _urls(arguments: dict[str, Any], source: str, target: str | None) -> dict[str, str]:
    names = [source] if target is None or arguments.get("dry_run") else [source, target]
    found = {}
    for name in names:
        value = arguments.get(name)
        url = url_of(value.path if isinstance(value, ModelFile) else value)
        if url is not None:
            found[name] = url
    return found


def _check_resume(arguments: dict[str, Any], target: str | None) -> None:
    if target is not None and arguments.get("resume"):
        raise ArgumentError(
            f"{target}: resume (--resume): what a run keeps lies beside its output, which is in a "
            "store; write to this machine, and copy what comes of it"
        )


def _as_given(value: object, local: Path) -> object:
    return replace(value, path=local) if isinstance(value, ModelFile) else local


def _renamed(result: T) -> T:
    """The result with URLs for its paths."""
    if not is_dataclass(result) or isinstance(result, type):
        return result
    changed: dict[str, Any] = {}
    for name in ("path", "files"):
        value = getattr(result, name, None)
        if isinstance(value, Path):
            changed[name] = _url_path(value)
        elif isinstance(value, tuple) and value and isinstance(value[0], Path):
            changed[name] = tuple(map(_url_path, value))
    return replace(result, **changed) if changed else result


def _url_path(path: Path) -> Path:
    told = told_paths(str(path))
    return path if told == str(path) else UrlPath(told)
