"""Models side by side as numbers: low-bit weights as floats, where the other one has floats."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from taut.container import ModelBase, TautFile
from taut.errors import FormatError
from taut.io import Source, TensorInfo, tensor_nbytes
from taut.io.gguf import GgufSource
from taut.io.gguf_floats import float_entries, quantised_types
from taut.io.quantized import FloatSource, as_floats
from taut.io.tensor_pieces import Read, file_reader
from taut.loading.float_file import FloatFile, with_floats
from taut.loading.gguf_tensors import GgufTensors
from taut.loading.restore_gguf import is_gguf

_WITHIN_SINGLE: Final = frozenset(["F32", "F16", "BF16"])


@dataclass(frozen=True)
class FloatView:
    """A model whose low-bit weights are the floats that they stand for.

    `forms` says of each of them how it is held; a model without any has none. What GGUF files hold
    beside their tensors is not in it. `read` gives a tensor, and `read_some` what gives some of its
    values, where it need not be held.
    """

    identity: str
    infos: Mapping[str, TensorInfo]
    forms: Mapping[str, str]
    read: Callable[[str], np.ndarray]
    read_some: Callable[[str], Read | None] = lambda name: None

    def load(self, name: str) -> np.ndarray:
        """One tensor; a low-bit weight as floats.

        Raises:
            ArgumentError: its type cannot be read as numbers, or the extra `gguf` is missing.
            FormatError, VerifyError: it is damaged.
        """
        return self._seen(self.read(name), name)

    def reader(self, name: str) -> Read:
        """What gives the values of one tensor from one number to another, flat; raises as `load`.

        A low-bit weight is held.
        """
        some = self.read_some(name)
        if some is not None:
            return lambda begin, end: self._seen(some(begin, end), name)
        flat = self.load(name).reshape(-1)
        return lambda begin, end: flat[begin:end]

    def _seen(self, values: np.ndarray, name: str) -> np.ndarray:
        return values.astype(np.float32) if self.infos[name].dtype == "F32" else values

    def beside(self, other: FloatView) -> FloatView:
        """This model with float32 in the place of another float, where one of the two is low-bit.

        So weights of float16 can be compared with those that blocks of GGUF stand for.
        """
        low = self.forms.keys() | other.forms.keys()
        infos = {
            name: _single(info) if name in low and _is_other_float(info, other.infos) else info
            for name, info in self.infos.items()
        }
        return replace(self, infos=infos)


def side_by_side(
    first: ModelBase, second: ModelBase
) -> tuple[ModelBase | FloatView, ModelBase | FloatView]:
    """Two models that can be compared tensor by tensor.

    They are as they are where none has low-bit weights, or both hold theirs in the same form; else
    such weights are floats in both.
    """
    a, b = (float_view(one.model, one.identity) for one in (first, second))
    both = a.forms.keys() & b.forms.keys()
    alike = bool(both) and all(a.forms[name] == b.forms[name] for name in both)
    if alike or not (a.forms or b.forms):
        return first, second
    return a.beside(b), b.beside(a)


def float_view(model: TautFile | Source, identity: str) -> FloatView:
    """A model by its numbers. Weights that a config calls low-bit and that cannot be read stay."""
    if isinstance(model, TautFile):
        return _of_taut(model, identity)
    if isinstance(model, GgufSource):
        entries = float_entries(model)
        infos = {name: entry.info for name, entry in entries.items()}
        forms = quantised_types(model.tensors)
        return FloatView(
            identity,
            infos,
            forms,
            lambda name: entries[name].load(),
            lambda name: None if name in forms else file_reader(model, name),
        )
    try:
        source: Source = as_floats(model)
    except FormatError:
        source = model
    low = source.weights if isinstance(source, FloatSource) else ()
    forms = {weight.info.name: weight.told for weight in low}
    infos = {info.name: info for info in source.infos}
    return FloatView(identity, infos, forms, source.load, lambda name: file_reader(source, name))


def _of_taut(file: TautFile, identity: str) -> FloatView:
    tensors: TautFile | GgufTensors
    if is_gguf(file):
        tensors = GgufTensors(file)
        forms = tensors.forms
    else:
        tensors = with_floats(file)
        low = tensors.weights if isinstance(tensors, FloatFile) else {}
        forms = {name: weight.told for name, weight in low.items()}
    infos = {info.name: info for info in tensors.infos}
    return FloatView(
        identity,
        infos,
        forms,
        tensors.__getitem__,
        lambda name: None if name in forms else _spans(file, name),
    )


def _spans(file: TautFile, name: str) -> Read:
    return lambda begin, end: file.span(name, begin, end)


def _is_other_float(info: TensorInfo, others: Mapping[str, TensorInfo]) -> bool:
    other = others.get(info.name)
    if other is None or info.dtype == other.dtype:
        return False
    return {info.dtype, other.dtype} <= _WITHIN_SINGLE


def _single(info: TensorInfo) -> TensorInfo:
    return replace(info, dtype="F32", nbytes=tensor_nbytes("F32", info.shape))
