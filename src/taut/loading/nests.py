"""A whole checkpoint out of a Taut file: the mappings and lists that its tensors were in.

Surprises first. The nest is a stranger's: it is built of dicts, lists, plain values and tensors of
this file, by the tags below and by nothing else; no name in it is ever looked up, but a dtype's.
"""

from __future__ import annotations

import base64
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

import numpy as np

from taut.container import TautFile
from taut.errors import ArgumentError, FormatError
from taut.extras import need_extra
from taut.io.nest import DEEPEST_NEST, NEST, Node, unpack_nest
from taut.loading.arrays import tensors_of

if TYPE_CHECKING:
    import torch

_SCALAR: Final = re.compile(r"[<|](b1|[iu][1248]|f[248]|c(8|16))")
_DEVICE: Final = re.compile(r"[a-z]{1,16}(:\d{1,4})?")


def is_nest(file: TautFile) -> bool:
    """Whether the file holds a whole checkpoint of PyTorch."""
    return not file.index.origin.files and NEST in file.index.origin.metadata


def nest_of(file: TautFile, tensors: Mapping[str, torch.Tensor]) -> object:
    """The checkpoint with these tensors, by their names in the file, in the place of its own.

    Raises:
        FormatError, VerifyError: the file is damaged, or its nest breaks a rule of docs/format.md.
    """
    name = file.index.origin.metadata[NEST]
    where = f'{file.path}: the nest "{name[:80]}"'
    infos = {info.name: info for info in file.infos}
    if name not in infos or infos[name].dtype != "U8" or len(infos[name].shape) != 1:
        raise FormatError(f"{where}: is no tensor of bytes in this file")
    building = _Building({n: one for n, one in tensors.items() if n != name}, where)
    found = building.value(unpack_nest(file[name], where), 0)
    if len(building.used) < len(building.tensors):
        raise FormatError(f"{where}: does not name all tensors of this file")
    return found


def load_nest(file: TautFile) -> object:
    """The checkpoint that a file holds, as `torch.load` would give it, with tensors on the CPU.

    Raises:
        ArgumentError: the file holds none, or torch is missing.
        FormatError, VerifyError: the file is damaged.
    """
    need_extra("torch", "torch", "nested: this takes")
    if not is_nest(file):
        raise ArgumentError(
            f"{file.path}: nested: the file holds no whole checkpoint, but tensors by name; leave "
            "it out"
        )
    return nest_of(file, tensors_of(file))


class _Building:
    """Makes values of nodes; `used` are the tensors that were asked for."""

    def __init__(self, tensors: Mapping[str, torch.Tensor], where: str) -> None:
        self.tensors, self.used = tensors, set[str]()
        self._where = where
        self._ways: dict[str, Callable[[Node, int], object]] = {
            "dict": lambda node, depth: dict(self._items(node, depth)),
            "list": self._list,
            "tuple": lambda node, depth: tuple(self._list(node, depth)),
            "set": lambda node, depth: set(self._list(node, depth)),
            "size": self._size,
            "int": self._int,
            "float": self._float,
            "bytes": self._bytes,
            "scalar": self._scalar,
            "array": lambda node, _: self._tensor(node).numpy(),
            "tensor": lambda node, _: self._tensor(node),
            "dtype": self._dtype,
            "device": self._device,
        }

    def value(self, node: Node, depth: int) -> object:
        """What a node stands for."""
        if depth > DEEPEST_NEST:
            raise FormatError(f"{self._where}: is nested more than {DEEPEST_NEST} deep")
        if node is None or isinstance(node, (str, int)):
            return node
        if not isinstance(node, dict):
            raise self._bad(node)
        match list(node):
            case ["ordered"] | ["ordered", "beside"]:
                return self._ordered(node, depth)
            case ["tensor", "parameter"]:
                return self._parameter(node)
            case [tag] if tag in self._ways:
                try:
                    return self._ways[tag](node[tag], depth)
                except (TypeError, ValueError, OverflowError):
                    raise self._bad(node) from None
        raise self._bad(node)

    def _bad(self, node: Node) -> FormatError:
        return FormatError(f"{self._where}: {str(node)[:80]!r} stands for nothing")

    def _list(self, node: Node, depth: int) -> list[object]:
        if not isinstance(node, list):
            raise self._bad(node)
        return [self.value(one, depth + 1) for one in node]

    def _items(self, node: Node, depth: int) -> list[tuple[object, object]]:
        pairs = [pair for pair in node if isinstance(pair, list)] if isinstance(node, list) else []
        if not isinstance(node, list) or len(pairs) < len(node) or any(len(p) != 2 for p in pairs):
            raise self._bad(node)
        return [(self.value(k, depth + 1), self.value(v, depth + 1)) for k, v in pairs]

    def _ordered(self, node: dict[str, Node], depth: int) -> object:
        try:
            found = OrderedDict(self._items(node["ordered"], depth))
        except TypeError:
            raise self._bad(node) from None
        if "beside" in node:
            beside = self.value(node["beside"], depth + 1)
            if not isinstance(beside, dict) or not all(isinstance(key, str) for key in beside):
                raise self._bad(node)
            found.__dict__.update(beside)
        return found

    def _tensor(self, node: Node) -> torch.Tensor:
        if not isinstance(node, str) or node not in self.tensors:
            raise FormatError(f"{self._where}: wants {str(node)[:80]!r}, which is not in this file")
        self.used.add(node)
        return self.tensors[node]

    def _parameter(self, node: dict[str, Node]) -> object:
        import torch

        tensor, learns = self._tensor(node["tensor"]), node["parameter"]
        floating = tensor.is_floating_point() or tensor.is_complex()
        if not isinstance(learns, bool) or (learns and not floating):
            raise self._bad(node)
        return torch.nn.Parameter(tensor, requires_grad=learns)

    def _size(self, node: Node, depth: int) -> object:
        import torch

        return torch.Size(self._list(node, depth))  # type: ignore[arg-type]  # raises TypeError

    def _int(self, node: Node, _: int) -> int:
        return int(self._text(node), 16)

    def _float(self, node: Node, _: int) -> float:
        return float.fromhex(self._text(node))

    def _bytes(self, node: Node, _: int) -> bytes:
        return base64.b64decode(self._text(node), validate=True)

    def _scalar(self, node: Node, _: int) -> object:
        if not isinstance(node, list) or len(node) != 2 or not _SCALAR.fullmatch(str(node[0])):
            raise self._bad(node)
        (one,) = np.frombuffer(bytes.fromhex(self._text(node[1])), str(node[0]))
        return one.astype(one.dtype.newbyteorder("="))

    def _dtype(self, node: Node, _: int) -> object:
        import torch

        found = getattr(torch, self._text(node), None)
        if not isinstance(found, torch.dtype):
            raise self._bad(node)
        return found

    def _device(self, node: Node, _: int) -> object:
        import torch

        if not _DEVICE.fullmatch(self._text(node)):
            raise self._bad(node)
        try:
            return torch.device(self._text(node))
        except RuntimeError:
            raise self._bad(node) from None

    def _text(self, node: Node) -> str:
        if not isinstance(node, str):
            raise self._bad(node)
        return node
