"""Model folders: how all that lies beside the weights travels along."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from taut.container.atomic import AtomicFile, check_destination
from taut.container.find import SUFFIX
from taut.errors import ArgumentError, TautError

FILE_NAME = f"model{SUFFIX}"

_KEY = b'"quantization_config"'
LOW_BIT_KEY = "taut_low_bit_config"  # where the config of a Taut folder has the original's method
_LOW_BIT = f'"{LOW_BIT_KEY}"'.encode()
_METHODS = ("quantization_config", "compression_config")  # of low-bit weights, in a config

_LARGE = 16_000_000  # bytes that are read at once: no config of a model is as large

# What a Taut folder's config.json has more than the original's, right after its first brace:
# transformers then asks `taut.hf` for the weights (docs/loading.md).
_MARK = b'\n  "quantization_config": {"quant_method": "taut"},'
_SHARDS = b'\n  "quantization_config": {"quant_method": "taut", "shards": true},'


def mark_config(path: Path, data: bytes, *, shards: bool = False, low_bit: bool = False) -> bytes:
    """The bytes of a companion as they are in a Taut folder: a model's config says so.

    Only the config of a transformers model that is not quantized otherwise; `unmark_config` gives
    its bytes back. With `shards` it says that the weights are several files and an index. With
    `low_bit` the weights become floats when they are loaded, and what the config says of them
    stands under another key.

    >>> mark_config(Path("config.json"), b'{"model_type": "bert"}')
    b'{\\n  "quantization_config": {"quant_method": "taut"},"model_type": "bert"}'
    """
    if path.as_posix() != "config.json" or not data.startswith(b"{"):
        return data
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return data
    if "model_type" not in tree:
        return data
    if "quantization_config" in tree:
        if not low_bit or data.count(_KEY) != 1 or _LOW_BIT in data:
            return data
        data = data.replace(_KEY, _LOW_BIT)
    return data[:1] + (_SHARDS if shards else _MARK) + data[1:]


def plain_config(path: Path, data: bytes) -> bytes:
    """The bytes of a companion beside weights that are floats now: a config names no method.

    >>> found = plain_config(Path("config.json"), b'{"a": 1, "quantization_config": {"bits": 4}}')
    >>> json.loads(found)
    {'a': 1}
    """
    if path.as_posix() != "config.json":
        return data
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return data
    plain = _without_method(tree)
    if plain == tree:
        return data
    return (json.dumps(plain, indent=2, ensure_ascii=False) + "\n").encode()


def _without_method(tree: object) -> object:
    """A config, and those of the models in it, without what says that weights are low-bit."""
    if not isinstance(tree, dict):
        return tree
    return {key: _without_method(value) for key, value in tree.items() if key not in _METHODS}


def unmark_config(path: Path, data: bytes) -> bytes:
    """The bytes of a companion as the original has them."""
    for mark in (_MARK, _SHARDS) if path.as_posix() == "config.json" else ():
        if data.startswith(b"{" + mark):
            return (data[:1] + data[1 + len(mark) :]).replace(_LOW_BIT, _KEY)
    return data


def check_copies(pairs: Iterable[tuple[Path, Path]], *, force: bool) -> None:
    """Raise `ArgumentError` unless each second path of (from, to) may be written."""
    for source, target in pairs:
        if target.exists() and os.path.samefile(source, target):
            raise ArgumentError(f"{target}: is an input; name another folder")
        if target.parent.is_dir():
            check_destination(target, force=force)


def pairs_to(
    companions: Iterable[Path], folder: Path, target: Path, taken: Collection[Path] = ()
) -> tuple[tuple[Path, Path], ...]:
    """Where the companions of `folder` go in `target`, as (from, to).

    Left out are what lies in `target` itself, where that is a folder of `folder`, and what would
    go where other files do (`taken`).
    """
    real, whole = Path(os.path.realpath(target)), Path(os.path.realpath(folder))
    own = real if real != whole else None
    pairs = [(path, target / path.relative_to(folder)) for path in companions]
    return tuple(
        (path, to)
        for path, to in pairs
        if to not in taken
        and not (own is not None and Path(os.path.realpath(path)).is_relative_to(own))
    )


def copy_files(
    pairs: Iterable[tuple[Path, Path]],
    folder: Path,
    change: Callable[[Path, bytes], bytes],
    *,
    force: bool,
) -> int:
    """Copy files, each whole or not at all; gives the bytes written.

    `change(path, bytes)` makes what is written of those that are not large, of the path below
    `folder` that it is written to.
    """
    total = 0
    for source, target in pairs:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with source.open("rb") as file, AtomicFile(target, force=force) as out:
                data = file.read(_LARGE)
                if len(data) < _LARGE:
                    data = change(target.relative_to(folder), data)
                while data:
                    out.write(data)
                    total += len(data)
                    data = file.read(_LARGE)
                out.commit()
        except OSError as error:
            raise TautError(f"{source}: cannot be read ({error.strerror})") from error
    return total
