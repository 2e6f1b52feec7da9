"""The user's own code as `file.py:name`: how a function of a file becomes a callable.

Surprise: a file is imported once for its path and content, so that `build.py:model` and
`build.py:batches` share what the file holds; a file that changed since is imported anew.
"""

from __future__ import annotations

import inspect
import re
import sys
import traceback
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Final

import xxhash

from taut.errors import ArgumentError, TautError
from taut.io.names import nearest
from taut.networks.beside import at_home, importing
from taut.networks.calls import is_ours, own_line, told

_SPEC: Final = re.compile(r"(?P<file>.+\.py):(?P<name>[^/\\:]*)", re.DOTALL)


def names_callable(spec: str) -> bool:
    """Whether a text has the form `file.py:name`.

    >>> names_callable("build.py:model"), names_callable("texts.jsonl")
    (True, False)
    """
    return _SPEC.fullmatch(spec) is not None


def load_callable(spec: str) -> Callable[..., object]:
    """The function (or class) that `path/file.py:name` says; this runs the file's code.

    Raises:
        ArgumentError: there is no such file or name, the file fails, or it is nothing to call.
    """
    found = load_named(spec)
    if not callable(found):
        raise ArgumentError(
            f"{spec}: is {_article(type(found).__name__)}, nothing to call; make it a function"
        )
    return found


def load_named(spec: str) -> object:
    """Whatever `path/file.py:name` says; raises as `load_callable`."""
    parts = _SPEC.fullmatch(spec)
    if parts is None or not parts["name"]:
        raise ArgumentError(f'"{spec}": name a function in a file as path/file.py:function')
    path = Path(parts["file"])
    if not path.is_file():
        beside = [p.name for p in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise ArgumentError(f"{path}: no such file{nearest(path.name, beside)}")
    module = _import(path)
    if parts["name"] not in vars(module):
        public = [name for name in vars(module) if not name.startswith("_")]
        raise ArgumentError(f'{path}: has no "{parts["name"]}"{nearest(parts["name"], public)}')
    return at_home(getattr(module, parts["name"]), module)


def call(function: Callable[..., object], where: str, step: str = "") -> object:
    """What the user's function gives without arguments; `where` is its name in messages.

    `step` says how far it had come: " at batch 2".

    Raises:
        ArgumentError: it raised; the message has the line and the exception.
    """
    try:
        return function()
    except (TautError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        code = getattr(inspect.unwrap(function), "__code__", None)
        file = getattr(code, "co_filename", "")
        line = "" if is_ours(file) else _line_of(error, file)
        line = line or own_line(error)
        raise ArgumentError(f"{where}: failed{line}{step}: {told(error)}") from error


def _import(path: Path) -> ModuleType:
    path = path.resolve()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArgumentError(f"{path}: cannot be read ({error.strerror})") from None
    name = f"_taut_{xxhash.xxh3_64_hexdigest(str(path).encode() + content)}"
    if name in sys.modules:
        with importing(sys.modules[name]):
            return sys.modules[name]
    loader = SourceFileLoader(name, str(path))
    spec = spec_from_loader(name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up while it runs
    try:
        with importing(module):
            # The content that was read, and no older one from a cache of bytecode.
            exec(loader.source_to_code(content, str(path)), vars(module))
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, (MemoryError, KeyboardInterrupt)):
            raise
        raise ArgumentError(
            f"{path}: import failed{_line_of(error, str(path))}: {told(error)}{_brought_by(error)}"
        ) from error
    return module


def _brought_by(error: BaseException) -> str:
    """The extra that installs what the user's file imports in vain."""
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    extra = {"torch": "torch", "transformers": "hf", "sklearn": "eval"}.get(missing or "")
    return f"; pip install 'taut[{extra}]'" if extra else ""


def _line_of(error: BaseException, file: str) -> str:
    """` in line 3`: the last line of the user's file on the way to the error."""
    if isinstance(error, SyntaxError) and error.lineno:
        beside = "" if error.filename == file else f" {error.filename}:"
        return f" in{beside} line {error.lineno}"
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
    return f" in line {lines[-1]}" if lines else ""


def _article(word: str) -> str:
    return f"{'an' if word[:1].lower() in 'aeiou' else 'a'} {word}"
