"""What stands for numpy's values, and for settings, when torch's restricted reader meets them.

Surprises first. That reader calls only what it knows, and a checkpoint of a training names more:
numpy's scalars and arrays, a namespace, a path. To let it call the real ones would hand them bytes
of a stranger. It is given the classes below under their names: they keep bytes, and do nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from math import prod
from typing import Any, Final

import numpy as np

_CODE: Final = re.compile(r"[?bBhHiIlLqQefdFD]|[biufc][1-9][0-9]?")
_ORDERS: Final = "<>=|"
_PATHS: Final = ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
# The classes of what trainers keep beside the weights: settings, in which no tensor is looked for.
_SETTINGS: Final = (
    ("argparse", "Namespace"),
    *((module, name) for module in ("pathlib", "pathlib._local") for name in _PATHS),
    ("torch.torch_version", "TorchVersion"),
    ("datetime", "datetime"),
    ("datetime", "timedelta"),
    *(("builtins", name) for name in ("int", "float", "str", "bool", "list", "dict", "tuple")),
    ("typing", "Any"),
    *(("omegaconf.base", name) for name in ("ContainerMetadata", "Metadata")),
    *(
        ("omegaconf.nodes", f"{name}Node")
        for name in ("Any", "Boolean", "Float", "Integer", "String")
    ),
    ("omegaconf.dictconfig", "DictConfig"),
    ("omegaconf.listconfig", "ListConfig"),
)
_MAPPINGS: Final = (
    ("collections", "defaultdict"),
    ("pytorch_lightning.utilities.parsing", "AttributeDict"),
    ("lightning.pytorch.utilities.parsing", "AttributeDict"),
    ("lightning_fabric.utilities.data", "AttributeDict"),
    ("lightning.fabric.utilities.data", "AttributeDict"),
)


class HeldDtype:
    """Stands for `numpy.dtype`: of plain numbers, or of what is not read."""

    def __init__(self, code: object = "", *_: object) -> None:
        self._code, self._order = code, "="

    def __setstate__(self, state: object) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in tuple(_ORDERS):
            self._order = str(state[1])  # of `_ORDERS`

    @property
    def dtype(self) -> np.dtype | None:
        """The dtype; None of one that is no plain number's."""
        code = self._code.decode() if isinstance(self._code, bytes) else self._code
        if not isinstance(code, str) or not _CODE.fullmatch(code):
            return None
        try:
            return np.dtype(code).newbyteorder(self._order)  # type: ignore[arg-type]  # of _ORDERS
        except (TypeError, ValueError):
            return None


class HeldArray:
    """Stands for a numpy array."""

    values: np.ndarray | None = None

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        match state:
            case (_, tuple(shape), HeldDtype() as held, fortran, bytes(data)):
                self.fill(held.dtype, shape, data, "F" if fortran else "C")

    def fill(self, dtype: np.dtype | None, shape: tuple[Any, ...], data: bytes, order: str) -> None:
        """Take the values of a dtype from their bytes, which must be as many as the shape says."""
        whole = all(type(number) is int and number >= 0 for number in shape)
        if dtype is None or not whole or prod(shape) * dtype.itemsize != len(data):
            return
        flat = np.frombuffer(data, dtype)
        self.values = flat.reshape(shape, order="F" if order == "F" else "C")


class HeldValue:
    """Stands for an object of settings, whatever it holds."""

    def __new__(cls, *_: object, **__: object) -> HeldValue:
        return super().__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


class HeldMapping:
    """Stands for a class of mappings: makes plain ones."""

    def __new__(cls, *_: object, **__: object) -> Any:
        return {}


def _scalar(dtype: object, data: object = b"") -> HeldArray:
    return _frombuffer(data, dtype, (), "C")


def _bytes(data: object = b"") -> bytes:
    return data if isinstance(data, bytes) else b""


def _reconstruct(*_: object) -> HeldArray:
    return HeldArray()


def _frombuffer(data: object, dtype: object, shape: object, order: object) -> HeldArray:
    found = HeldArray()
    if isinstance(dtype, HeldDtype) and isinstance(data, (bytes, bytearray)):
        found.fill(dtype.dtype, shape if isinstance(shape, tuple) else (), bytes(data), str(order))
    return found


def stand_ins() -> list[Callable[..., object]]:
    """What torch's `safe_globals` takes: each has the module and name of what it stands for."""
    found: list[Callable[..., object]] = [
        _class("numpy", "dtype", HeldDtype),
        _class("numpy", "ndarray", HeldArray),
        HeldArray,
        _function("builtins", "bytes", _bytes),  # of an empty array
    ]
    for package in ("numpy.core", "numpy._core"):
        found.append(_function(f"{package}.multiarray", "scalar", _scalar))
        found.append(_function(f"{package}.multiarray", "_reconstruct", _reconstruct))
        found.append(_function(f"{package}.numeric", "_frombuffer", _frombuffer))
    settings = [(module, name, HeldValue) for module, name in _SETTINGS]
    mappings = [(module, name, HeldMapping) for module, name in _MAPPINGS]
    return [*found, *(_class(*one) for one in (*settings, *mappings))]


def _class(module: str, name: str, base: type) -> Callable[..., object]:
    return type(name, (base,), {"__module__": module, "__qualname__": name})


def _function(module: str, name: str, made: Callable[..., object]) -> Callable[..., object]:
    def stand_in(*args: Any) -> object:
        return made(*args)

    stand_in.__module__, stand_in.__name__, stand_in.__qualname__ = module, name, name
    return stand_in
