"""What lies beside the user's files can be imported while their code runs, and only then.

Surprise: two folders may each have a `net.py`. Modules found in a folder of the user's are taken
out of `sys.modules` afterwards, and come back with the file that imported them.
"""

from __future__ import annotations

import functools
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import FunctionType, GeneratorType, ModuleType
from typing import Final, TypeVar, cast

Value = TypeVar("Value")

_LIBRARIES: Final = ("site-packages", "dist-packages")
_PYTHON: Final = Path(sysconfig.get_path("stdlib"))
_KEPT: Final = "_taut_beside"


class Imports:
    """The folders that are open, and what is put back at the end."""

    def __init__(self) -> None:
        self._before = set(sys.modules)
        self._hidden: dict[str, ModuleType] = {}
        self._files: dict[str, list[ModuleType]] = {}

    def open(self, file: ModuleType) -> None:
        """Let the folder of a user's file be imported from, first of all."""
        folder = str(Path(cast(str, file.__file__)).parent)
        if folder not in self._files:
            for name in _beside(folder):
                if not _is_in(name, folder) and _is_users(name):
                    hidden = sys.modules.pop(name)
                    if name in self._before:
                        self._hidden[name] = hidden
            sys.path.insert(0, folder)
        files = self._files.setdefault(folder, [])
        if file not in files:
            files.append(file)
        for name, module in vars(file).get(_KEPT, {}).items():
            sys.modules.setdefault(name, module)

    def close(self) -> None:
        """Leave `sys.path` and `sys.modules` as they were."""
        for folder, files in self._files.items():
            if folder in sys.path:
                sys.path.remove(folder)
            new = [name for name in _beside(folder) if self._is_new(name, folder)]
            found = {name: sys.modules.pop(name) for name in new}
            for file in files:
                vars(file)[_KEPT] = {**vars(file).get(_KEPT, {}), **found}
        sys.modules.update(self._hidden)

    def _is_new(self, name: str, folder: str) -> bool:
        top = name.partition(".")[0]
        known = top in self._before and top not in self._hidden
        return not known and _is_in(name, folder)


_SCOPE: ContextVar[Imports | None] = ContextVar("imports", default=None)


@contextmanager
def importing(file: ModuleType | None = None) -> Iterator[None]:
    """Within it the folder of each of the user's files that is opened can be imported from.

    Inside another such body this opens the folder of `file` until that one ends.
    """
    scope = _SCOPE.get()
    if scope is not None:
        if file is not None:
            scope.open(file)
        yield
        return
    scope = Imports()
    token = _SCOPE.set(scope)
    try:
        if file is not None:
            scope.open(file)
        yield
    finally:
        _SCOPE.reset(token)
        scope.close()


def at_home(value: Value, file: ModuleType) -> Value:
    """A function of the user's file that runs with its folder open; anything else as it is."""
    if not isinstance(value, FunctionType):
        return value

    @functools.wraps(value)
    def inside(*args: object, **kwargs: object) -> object:
        with importing(file):
            given = value(*args, **kwargs)
        return _steps(given, file) if isinstance(given, GeneratorType) else given

    return cast(Value, inside)


def _steps(given: Iterator[object], file: ModuleType) -> Iterator[object]:
    while True:
        with importing(file):  # a generator's code runs only now
            try:
                step = next(given)
            except StopIteration:
                return
        yield step


def _beside(folder: str) -> list[str]:
    """Modules that are known now, of names that would be found in the folder."""
    found = {one.stem for one in Path(folder).iterdir() if one.suffix == ".py" or one.is_dir()}
    return [name for name in sys.modules if name.partition(".")[0] in found]


def _origin(name: str) -> Path | None:
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
    return Path(file).resolve() if isinstance(file, str) else None


def _is_in(name: str, folder: str) -> bool:
    """Whether it is, or is of a package that is, right in the folder."""
    origin = _origin(name.partition(".")[0])
    if origin is not None and origin.name == "__init__.py":
        origin = origin.parent
    return origin is not None and origin.parent == Path(folder)


def _is_users(name: str) -> bool:
    """Whether a module is neither Python's nor of an installed package."""
    origin = _origin(name)
    if name == "__main__" or origin is None or set(origin.parts) & set(_LIBRARIES):
        return False
    ours = name.partition(".")[0] == __name__.partition(".")[0]
    return not ours and not origin.is_relative_to(_PYTHON)
