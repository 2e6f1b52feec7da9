"""What compressed-tensors writes: integers in words, FP8, int8, NVFP4 and MXFP4.

The config tells groups of layers apart by class or pattern, which tensors alone cannot follow: so
each weight's bits and groups are measured, and one of the config's groups must agree.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from taut.errors import FormatError
from taut.io.quantized.bit_words import unpack_words
from taut.io.quantized.declared import Declared
from taut.io.quantized.four_bit_floats import four_bit_weight
from taut.io.quantized.quantized_weight import HALVES, Floats, Load, QuantizedWeight, Tensors
from taut.io.quantized.scaled import FP8, scaled_weight
from taut.io.tensor_info import TensorInfo

FORMATS: Final = (
    *("pack-quantized", "int-quantized", "float-quantized", "naive-quantized"),
    *("nvfp4-pack-quantized", "mxfp4-pack-quantized", "mxfp8-quantized", "mixed-precision"),
    "dense",
)
"""The formats that are read as floats."""


@dataclass(frozen=True)
class _Group:
    """What the config says of some layers' weights."""

    targets: tuple[str, ...]
    bits: int | None
    kind: str | None
    size: int | None
    block: tuple[int, int] | None
    symmetric: bool

    def fits(self, module: str) -> bool:
        """Whether a target may be this module: by pattern or name; a class may be any."""
        return not self.targets or any(_targets(one, module) for one in self.targets)


def compressed_weights(tensors: Tensors, declared: Declared) -> Iterator[QuantizedWeight]:
    """Every weight of compressed-tensors.

    Raises:
        FormatError: a format is unknown, a part is missing or of another shape, or no group of the
            config agrees with a weight.
    """
    groups = _groups(declared)
    for info in [*tensors.infos.values()]:
        stem, _, last = info.name.rpartition(".")
        weight = f"{stem}.weight" if stem else "weight"
        if last == "weight_packed" and info.dtype == "U8":
            yield _four_bits(tensors, info, weight, groups, declared)
        elif last == "weight_packed":
            yield _integers(tensors, info, stem, groups, declared)
        elif info.name == weight and info.dtype in (*FP8, "I8") and len(info.shape) > 1:
            yield _eight_bits(tensors, info, stem, groups, declared)


def _four_bits(
    tensors: Tensors, info: TensorInfo, weight: str, groups: list[_Group], declared: Declared
) -> QuantizedWeight:
    """Floats of four bits, two in a byte."""
    _agreeing(tensors, info, weight.rpartition(".")[0], groups, bits=4, kind="float")
    whole = f"{weight}_global_scale"
    nvfp4 = whole in tensors.infos or _format(declared).startswith("nvfp4")
    return four_bit_weight(tensors, info, weight, whole if nvfp4 else None, declared, divided=True)


def _eight_bits(
    tensors: Tensors, info: TensorInfo, stem: str, groups: list[_Group], declared: Declared
) -> QuantizedWeight:
    """Floats or integers of eight bits, in the weight's own shape."""
    kind = "float" if info.dtype in FP8 else "int"
    group = _agreeing(tensors, info, stem, groups, bits=8, kind=kind)
    zero = f"{info.name}_zero_point"
    if not group.symmetric:
        tensors.need(zero, info.name, ("I8", "U8", "I32"))
    return scaled_weight(
        tensors,
        info,
        f"{info.name}_scale",
        group.block,
        declared,
        zero=zero if zero in tensors.infos else None,
    )


def _integers(
    tensors: Tensors,
    info: TensorInfo,
    stem: str,
    groups: list[_Group],
    declared: Declared,
) -> QuantizedWeight:
    """Integers of 1 to 8 bits, packed in words of 32 along the columns."""
    prefix = f"{stem}." if stem else ""
    tensors.need(info.name, f"{prefix}weight", ("I32",))
    shape = _shape(tensors, info, f"{prefix}weight_shape")
    bits = _bits(tensors, info, shape, [group.bits for group in groups if group.fits(stem)])
    group = _agreeing(tensors, info, stem, groups, bits=bits, kind="int")
    packed = _Packed(tensors, info, prefix, shape, bits, group)
    packed.check()
    own = tensors.infos[packed.scale].dtype
    return tensors.weight(
        f"{prefix}weight", packed.parts, shape, declared.dtype or own, packed.told, packed.read
    )


@dataclass(frozen=True)
class _Packed:
    """The parts of one weight of packed integers."""

    tensors: Tensors
    info: TensorInfo
    prefix: str
    shape: tuple[int, ...]
    bits: int
    group: _Group

    @property
    def scale(self) -> str:
        """The name of its scales."""
        return f"{self.prefix}weight_scale"

    @property
    def zero(self) -> str | None:
        """The name of its zero points, if it has some."""
        name = f"{self.prefix}weight_zero_point"
        return name if name in self.tensors.infos or not self.group.symmetric else None

    @property
    def order(self) -> str | None:
        """The name of what gives each column its group, if it is not by place."""
        name = f"{self.prefix}weight_g_idx"
        return name if name in self.tensors.infos else None

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of all of them."""
        names = (self.info.name, self.scale, f"{self.prefix}weight_shape", self.zero, self.order)
        return tuple(name for name in names if name is not None)

    @property
    def told(self) -> str:
        """How the weight is held, in words."""
        size = self.shape[-1] // self.groups
        return f"int{self.bits}, " + (f"groups of {size}" if self.groups > 1 else "a scale a row")

    @property
    def groups(self) -> int:
        """Groups of columns that share a scale."""
        shape = self.tensors.infos[self.scale].shape
        return shape[-1] if len(shape) == len(self.shape) else 1

    def check(self) -> None:
        """Raise `FormatError` unless all parts are there and fit."""
        tensors, columns = self.tensors, self.shape[-1]
        scale = tensors.need(self.scale, self.info.name, HALVES)
        if self._scale_shape() != scale.shape and scale.shape not in ((1,), ()):
            tensors.expect(self.scale, self._scale_shape())
        if columns % self.groups:
            raise tensors.wrong(self.scale, f"has {self.groups} groups, which do not divide "
                                f"{columns} columns")  # fmt: skip
        size = self.group.size
        if size not in (None, -1, columns // self.groups):
            raise tensors.wrong(self.scale, f"has groups of {columns // self.groups} columns, and "
                                f"the config says {size}")  # fmt: skip
        if self.zero is not None:
            tensors.need(self.zero, self.info.name, ("I32",))
            rows = -(-self.shape[-2] * self.bits // 32)
            tensors.expect(self.zero, (*self.shape[:-2], rows, self.groups))
        if self.order is not None:
            tensors.expect_groups(self.order, self.info.name, columns, self.groups)

    def _scale_shape(self) -> tuple[int, ...]:
        return (*self.shape[:-1], self.groups)

    def read(self, load: Load) -> Floats:
        """The weight in float32."""
        rows, columns = self.shape[-2:]
        q = unpack_words(load(self.info.name), self.bits, columns).astype(np.float32)
        scales = load(self.scale).astype(np.float32)
        scales = np.broadcast_to(scales.reshape(self._scale_shape() if scales.size > 1 else (1,)),
                                 self._scale_shape())  # fmt: skip
        if self.order is None:
            which = np.arange(columns) // (columns // self.groups)
        else:
            which = load(self.order).astype(np.int64)
        if self.zero is None:
            q -= np.float32(1 << (self.bits - 1))
        else:
            words = np.swapaxes(load(self.zero), -1, -2)
            zeros = np.swapaxes(unpack_words(words, self.bits, rows), -1, -2)
            q -= zeros[..., which]
        q *= scales[..., which]
        return q


def _shape(tensors: Tensors, info: TensorInfo, name: str) -> tuple[int, ...]:
    """The shape of a packed weight, as it is stored beside it."""
    held = tensors.need(name, info.name, ("I64", "I32"))
    found = tuple(int(one) for one in tensors.load(name).reshape(-1))
    if len(found) != len(info.shape) or found[:-1] != info.shape[:-1] or found[-1] < 1:
        raise tensors.wrong(held.name, f"says {list(found)}, and the packed weight is "
                            f"{list(info.shape)}")  # fmt: skip
    return found


def _bits(
    tensors: Tensors, info: TensorInfo, shape: tuple[int, ...], said: list[int | None]
) -> int:
    """The bits of an integer, of those that the config says the one that fills the words."""
    words = info.shape[-1]
    fitting = [bits for bits in range(1, 9) if -(-shape[-1] * bits // 32) == words]
    for bits in said:
        if bits in fitting:
            return int(bits or 0)
    told = ", ".join(sorted({str(bits) for bits in said if bits is not None})) or "none"
    raise tensors.wrong(info.name, f"has {words} words for {shape[-1]} columns, and the config "
                        f"says {told} bits")  # fmt: skip


def _agreeing(
    tensors: Tensors, info: TensorInfo, module: str, groups: list[_Group], *, bits: int, kind: str
) -> _Group:
    """The config's group of a weight: one that may be meant, with its bits and kind.

    Raises:
        FormatError: there is none.
    """
    for group in groups:
        if group.fits(module) and group.bits in (None, bits) and group.kind in (None, kind):
            return group
    raise tensors.wrong(info.name, f"is a weight of {kind}{bits}, of which no group of the config "
                        "speaks")  # fmt: skip


def _format(declared: Declared) -> str:
    found = declared.settings.get("format")
    return found if isinstance(found, str) else ""


def _groups(declared: Declared) -> list[_Group]:
    """The groups of the config.

    Raises:
        FormatError: there are none, or one has an unknown format.
    """
    tree = declared.settings.get("config_groups")
    if not isinstance(tree, Mapping) or not tree:
        raise FormatError(f"{declared.where}: quantization_config has no config_groups")
    _check_format(_format(declared), declared)
    return [_group(name, one, declared) for name, one in tree.items()]


def _check_format(name: str, declared: Declared) -> None:
    if name and name not in FORMATS:
        raise FormatError(
            f'{declared.where}: format "{name}" of compressed-tensors is not read as floats; '
            f"those that are: {', '.join(FORMATS)}; compress it bit-exact, as it is"
        )


def _group(name: str, tree: object, declared: Declared) -> _Group:
    where = f"{declared.where}: config_groups: {name}"
    weights = tree.get("weights") if isinstance(tree, Mapping) else None
    if not isinstance(tree, Mapping) or not isinstance(weights, Mapping):
        raise FormatError(f"{where}: says nothing of weights")
    own = tree.get("format")
    _check_format(own if isinstance(own, str) else "", declared)
    targets = tree.get("targets")
    inner = Declared(declared.method, weights, None, where)
    kind = weights.get("type")
    return _Group(
        targets=tuple(map(str, targets)) if isinstance(targets, list) else (),
        bits=inner.number("num_bits"),
        kind=kind if isinstance(kind, str) else None,
        size=inner.number("group_size"),
        block=inner.pair("block_structure"),
        symmetric=weights.get("symmetric", True) is not False,
    )


def _targets(target: str, module: str) -> bool:
    """Whether a target may mean a module: a pattern, a name, or a class (which any may be).

    >>> _targets("re:.*q_proj", "model.layers.0.q_proj"), _targets("Linear", "model.layers.0.up")
    (True, True)
    >>> _targets("re:.*q_proj", "model.layers.0.up"), _targets("model.down", "model.layers.0.up")
    (False, False)
    """
    if target.startswith("re:"):
        try:
            return re.match(target[3:], module) is not None
        except re.error:
            return False
    return target == module or (target.isidentifier() and target[:1].isupper())
