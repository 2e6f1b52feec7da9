"""Integer weights as GPTQ and AWQ lay them out: words of 32 bits, by inputs (rows) and outputs.

Surprises first. A network's weight is (outputs, inputs): the other way round. GPTQ's first layout
stores zero points less one, its second one (`checkpoint_format` gptq_v2) as they are. `g_idx` gives
each input its group, where these were ordered by their importance. GPTQ packs eight inputs in a
word, AWQ eight outputs, in an order of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from taut.errors import FormatError
from taut.io.quantized.bit_words import unpack_awq, unpack_words
from taut.io.quantized.declared import Declared
from taut.io.quantized.quantized_weight import HALVES, Floats, Load, QuantizedWeight, Tensors
from taut.io.tensor_info import TensorInfo

_BITS: Final = (2, 3, 4, 8)
_LAYOUTS: Final = {"gptq": 1, "gptq_v2": 0}
_PARTS: Final = ("qweight", "qzeros", "scales", "g_idx")

Unpack = Callable[[np.ndarray], NDArray[np.int32]]


@dataclass(frozen=True)
class _Layer:
    """The tensors of one layer; `inputs` and `outputs` are the weight's."""

    tensors: Tensors
    stem: str
    bits: int
    inputs: int
    outputs: int
    unpack: Unpack
    unpack_zeros: Unpack
    added: int  # to the zero points as they are stored

    def name(self, part: str) -> str:
        """The name of a part."""
        return f"{self.stem}{part}"

    @property
    def ordered(self) -> bool:
        """Whether inputs say which group they belong to."""
        return self.name("g_idx") in self.tensors.infos

    @property
    def groups(self) -> int:
        """Groups of inputs that share a scale."""
        return self.tensors.infos[self.name("scales")].shape[0]

    def check(self, size: int | None) -> None:
        """Raise `FormatError` unless all parts fit; `size` is the group's in the config."""
        tensors, whole = self.tensors, self.name("qweight")
        scales = tensors.need(self.name("scales"), whole, HALVES)
        if len(scales.shape) != 2:
            raise tensors.wrong(scales.name, f"has the shape {list(scales.shape)}, and should be "
                                "(groups, outputs)")  # fmt: skip
        tensors.expect(scales.name, (self.groups, self.outputs))
        tensors.need(self.name("qzeros"), whole, ("I32",))
        tensors.expect(self.name("qzeros"), (self.groups, -(-self.outputs * self.bits // 32)))
        wanted = 1 if size in (None, -1) else -(-self.inputs // int(size or 1))
        if size is not None and wanted != self.groups:
            raise tensors.wrong(scales.name, f"has {self.groups} groups for {self.inputs} inputs, "
                                f"and the config says groups of {size}")  # fmt: skip
        if self.ordered:
            tensors.expect_groups(self.name("g_idx"), whole, self.inputs, self.groups)

    def read(self, load: Load) -> Floats:
        """The weight in float32, (outputs, inputs)."""
        most = (1 << self.bits) - 1
        zeros = self.unpack_zeros(load(self.name("qzeros")))[:, : self.outputs]
        zeros = (zeros + self.added & most).astype(np.float32)
        scales = load(self.name("scales")).astype(np.float32)
        if self.ordered:
            which = load(self.name("g_idx")).astype(np.int64)
        else:
            which = np.arange(self.inputs) // -(-self.inputs // self.groups)
        q = self.unpack(load(self.name("qweight"))).astype(np.float32)
        q -= zeros[which]
        q *= scales[which]
        return np.ascontiguousarray(q.T)

    def weight(self, method: str, declared: Declared) -> QuantizedWeight:
        """The weight of the layer."""
        names = [self.name(part) for part in _PARTS if self.name(part) in self.tensors.infos]
        own = self.tensors.infos[self.name("scales")].dtype
        size = -(-self.inputs // self.groups)
        told = f"int{self.bits} of {method}, " + (
            f"groups of {size}" if self.groups > 1 else "a scale an output"
        )
        return self.tensors.weight(
            self.name("weight"),
            names,
            (self.outputs, self.inputs),
            declared.dtype or own,
            told,
            self.read,
        )


def gptq_weights(tensors: Tensors, declared: Declared) -> Iterator[QuantizedWeight]:
    """Every layer of GPTQ, with 2, 3, 4 or 8 bits.

    Raises:
        FormatError: a part is missing, or does not fit the others or the config.
    """
    layout = declared.settings.get("checkpoint_format", "gptq")
    if layout not in _LAYOUTS:
        raise FormatError(
            f"{declared.where}: checkpoint_format {layout!r:.40} is not read as floats; those that "
            f"are: {', '.join(_LAYOUTS)}"
        )
    said = declared.number("bits")
    if said not in (None, *_BITS):
        raise FormatError(f"{declared.where}: bits are {said}; GPTQ has {_BITS}")
    for stem, info in _layers(tensors):
        bits = _bits_of(tensors, info, stem, said)
        inputs, outputs = info.shape[0] * 32 // bits, info.shape[1]
        layer = _Layer(
            tensors,
            stem,
            bits,
            inputs,
            outputs,
            _by_inputs(bits, inputs),
            _by_outputs(bits, outputs),
            _LAYOUTS[str(layout)],
        )
        layer.check(declared.number("group_size"))
        yield layer.weight("GPTQ", declared)


def awq_weights(tensors: Tensors, declared: Declared) -> Iterator[QuantizedWeight]:
    """Every layer of AWQ (version gemm), with 4 bits.

    Raises:
        FormatError: another version or number of bits, or a part is missing or does not fit.
    """
    version = str(declared.settings.get("version", "gemm")).lower()
    bits = declared.number("bits", "w_bit")
    if version != "gemm" or bits not in (None, 4):
        raise FormatError(
            f"{declared.where}: AWQ of version {version} with {bits} bits is not read as floats; "
            "what is: version gemm with 4 bits"
        )
    for stem, info in _layers(tensors):
        inputs, outputs = info.shape[0], 8 * info.shape[1]
        layer = _Layer(tensors, stem, 4, inputs, outputs, unpack_awq, unpack_awq, 0)
        layer.check(declared.number("group_size", "q_group_size"))
        yield layer.weight("AWQ", declared)


def _layers(tensors: Tensors) -> Iterator[tuple[str, TensorInfo]]:
    """What the names of layers begin with, and their packed weights.

    Raises:
        FormatError: a part has no packed weight, or that is no matrix of words.
    """
    for name, info in [*tensors.infos.items()]:
        stem = name[: len(name) - len(name.rpartition(".")[2])]
        if name == f"{stem}qzeros":
            tensors.need(f"{stem}qweight", name, ("I32",))
        if name == f"{stem}qweight":
            tensors.need(name, f"{stem}weight", ("I32",))
            if len(info.shape) != 2:
                raise tensors.wrong(name, f"has the shape {list(info.shape)}, and should be a "
                                    "matrix")  # fmt: skip
            yield stem, info


def _bits_of(tensors: Tensors, info: TensorInfo, stem: str, said: int | None) -> int:
    """The bits of a layer: what the words of its zero points say, and the config must say too."""
    zeros = tensors.need(f"{stem}qzeros", info.name, ("I32",))
    outputs = info.shape[1]
    words = zeros.shape[-1] if zeros.shape else 0
    fitting = [bits for bits in _BITS if -(-outputs * bits // 32) == words]
    if said in fitting:
        return int(said or 0)
    if said is None and len(fitting) == 1:
        return fitting[0]
    found = f"{fitting[0]} bits" if fitting else "of no number of bits"
    raise tensors.wrong(zeros.name, f"has {words} words for {outputs} outputs, which are {found}; "
                        f"the config says {said}")  # fmt: skip


def _by_inputs(bits: int, inputs: int) -> Unpack:
    def unpack(words: np.ndarray) -> NDArray[np.int32]:
        return unpack_words(np.ascontiguousarray(words.T), bits, inputs).T

    return unpack


def _by_outputs(bits: int, outputs: int) -> Unpack:
    return lambda words: unpack_words(words, bits, outputs)
