"""All of a checkpoint: its tensors by where they are, and what holds them as a text.

A training's checkpoint is a nest of mappings and lists around tensors and plain values. Its tensors
are named by their paths; the nest itself, with a tensor's name in the place of each, is packed into
bytes (docs/format.md, "Checkpoints"). Nothing in them is ever run or unpickled: a reader makes
mappings, lists and plain values of them, and nothing else.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from taut.errors import ArgumentError, FormatError
from taut.io.in_memory import Entry, MemorySource, numpy_entry
from taut.io.inert import HeldArray
from taut.io.pytorch import is_tensor

NEST: Final = "taut.nest"
"""The key of metadata that names the tensor of bytes."""
NEST_NAME: Final = "torch.nest"
DEEPEST_NEST: Final = 64
_MOST: Final = 1 << 26  # bytes of the text
_WORD: Final = 1 << 63  # whole numbers within it are JSON's

Node = object  # what JSON has: None, bool, int, str, or a mapping of one or two keys


@dataclass
class Nest:
    """A nest taken apart: `tensors` by name, `node` the rest.

    `apart` are the tensors of optimisers, which are no weights.
    """

    tensors: dict[str, object] = field(default_factory=dict)
    apart: set[str] = field(default_factory=set)
    node: Node = None

    @property
    def packed(self) -> np.ndarray:
        """The rest as bytes: uint8, 1-D."""
        text = json.dumps(self.node, separators=(",", ":"), allow_nan=False).encode("ascii")
        coder = zlib.compressobj(9, wbits=-15)
        return np.frombuffer(coder.compress(text) + coder.flush(), np.uint8)


def take_apart(loaded: object, identity: str) -> Nest:
    """Part a checkpoint into its tensors and the nest that held them.

    Raises:
        ArgumentError: something in it is neither a tensor nor plain; names its place.

    >>> nest = take_apart({"epoch": 3, "model": {"w": np.ones(2)}}, "x.pt")
    >>> list(nest.tensors), nest.node
    (['model.w'], {'dict': [['epoch', 3], ['model', {'dict': [['w', {'array': 'model.w'}]]}]]})
    """
    nest = Nest()
    nest.node = _Taking(nest, identity).node(loaded, ())
    return nest


def holds_tensors(loaded: object, depth: int = 0) -> bool:
    """Whether there is a tensor, or an array of numpy, anywhere in mappings and lists."""
    if is_tensor(loaded) or isinstance(loaded, (np.ndarray, HeldArray)):
        return True
    if depth > DEEPEST_NEST:
        return False
    if isinstance(loaded, Mapping):
        return any(holds_tensors(one, depth + 1) for one in loaded.values())
    return isinstance(loaded, (list, tuple)) and any(holds_tensors(o, depth + 1) for o in loaded)


class _Taking:
    """Walks through a checkpoint, and puts its tensors into `nest`."""

    def __init__(self, nest: Nest, identity: str) -> None:
        self._nest, self._identity = nest, identity
        self._inside = 0  # optimisers around what is looked at

    def node(self, value: object, path: tuple[str, ...]) -> Node:
        """What stands for a value."""
        if len(path) > DEEPEST_NEST:
            raise ArgumentError(
                f'{self._identity}: is nested more than {DEEPEST_NEST} deep at "{_name(path)[:80]}"'
            )
        for way in (_plain, self._held, self._several, _of_torch):
            if (found := way(value, path)) is not None:
                return found
        if value is None:
            return None
        raise ArgumentError(
            f'{self._identity}: holds a {type(value).__name__} at "{_name(path)}", which is '
            "neither a tensor nor plain; save without it, or choose a part with key (--key)"
        )

    def _held(self, value: object, path: tuple[str, ...]) -> Node:
        """Of a tensor or an array, which are taken out."""
        if isinstance(value, HeldArray):
            value = value.values
        if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and not value.ndim):
            return _scalar(np.asarray(value))
        array = isinstance(value, np.ndarray)
        if not array and not is_tensor(value):
            return None
        name = self._free(_name(path))
        self._nest.tensors[name] = value
        if self._inside:
            self._nest.apart.add(name)
        if array:
            return {"array": name}
        if type(value).__name__ == "Parameter":
            return {"tensor": name, "parameter": bool(getattr(value, "requires_grad", True))}
        return {"tensor": name}

    def _free(self, name: str) -> str:
        found, number = name, 1
        while found in self._nest.tensors or found in (NEST_NAME, "__metadata__", ""):
            number += 1
            found = f"{name}~{number}"
        return found

    def _several(self, value: object, path: tuple[str, ...]) -> Node:
        """Of a mapping, a list or a tuple."""
        if isinstance(value, Mapping):
            optimiser = {"state", "param_groups"} <= value.keys()
            self._inside += optimiser
            items = [[self._key(k, path), self.node(v, (*path, str(k)))] for k, v in value.items()]
            self._inside -= optimiser
            return self._mapping(value, items, path)
        kinds = {"Size": "size", "tuple": "tuple", "list": "list", "set": "set"}
        kind = kinds.get(type(value).__name__)
        if kind is None or not isinstance(value, (list, tuple, set)):
            return None
        ordered: Iterable[object] = sorted(value, key=repr) if isinstance(value, set) else value
        return {kind: [self.node(one, (*path, str(n))) for n, one in enumerate(ordered)]}

    def _mapping(self, value: object, items: list[list[Node]], path: tuple[str, ...]) -> Node:
        if not isinstance(value, OrderedDict):
            return {"dict": items}
        beside = getattr(value, "__dict__", None)
        if not beside:
            return {"ordered": items}
        return {"ordered": items, "beside": self.node(dict(beside), (*path, "__dict__"))}

    def _key(self, key: object, path: tuple[str, ...]) -> Node:
        parts = key if isinstance(key, tuple) else (key,)
        if all(one is None or isinstance(one, (str, int, float, bool)) for one in parts):
            return self.node(key, path)
        raise ArgumentError(
            f'{self._identity}: has a {type(key).__name__} as a key at "{_name(path)}"; '
            "texts and numbers can be kept"
        )


def _name(path: tuple[str, ...]) -> str:
    return ".".join(path)


def _plain(value: object, _: object) -> Node:
    """Of a text, a number, or bytes."""
    if isinstance(value, bool) or type(value) is str:
        return value
    if type(value) is int:
        return value if -_WORD <= value < _WORD else {"int": hex(value)}
    if type(value) is float:
        return {"float": value.hex()}
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": base64.b64encode(value).decode()}
    return None


def _of_torch(value: object, _: object) -> Node:
    """Of a dtype or a device."""
    module, kind = type(value).__module__, type(value).__name__
    if module == "torch" and kind in ("dtype", "device"):
        return {kind: str(value).removeprefix("torch.")}
    return None


def _scalar(value: np.ndarray) -> Node:
    native = value.astype(value.dtype.newbyteorder("<"))
    return (
        {"scalar": [native.dtype.str, native.tobytes().hex()]}
        if value.dtype.kind in "?biufc"
        else None
    )


def nest_entries(nest: Nest | None) -> list[Entry]:
    """The entry of a nest's bytes; none of no nest."""
    return [] if nest is None else [numpy_entry(NEST_NAME, nest.packed)]


def nested(source: MemorySource, nest: Nest | None) -> MemorySource:
    """The source of a nest's tensors, which remembers it; of no nest the source itself."""
    if nest is None:
        return source
    return replace(source, metadata={NEST: NEST_NAME}, fixed=frozenset({NEST_NAME, *nest.apart}))


def unpack_nest(packed: np.ndarray, where: str) -> Node:
    """The nest of its bytes, which nothing is known of; its parts are checked where it is built.

    Raises:
        FormatError: they are no deflate stream of JSON, or of too much of it.
    """
    try:
        coder = zlib.decompressobj(wbits=-15)
        text = coder.decompress(packed.tobytes(), _MOST)
    except zlib.error:
        raise FormatError(f"{where}: is no deflate stream") from None
    if not coder.eof or coder.unused_data:
        raise FormatError(f"{where}: is cut short, or of more than {_MOST} bytes")
    try:
        found: Node = json.loads(text)
    except (ValueError, RecursionError):
        raise FormatError(f"{where}: is no JSON") from None
    return found
