"""A GGUF file read back: by the package that wrote it, and as a network by transformers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil

from taut.errors import VerifyError
from taut.exporting.gguf.networks import Order, lying, restored
from taut.exporting.transformers_network import can_load, network_of, quiet
from taut.io import TensorInfo

if TYPE_CHECKING:
    import torch
    from gguf import ReaderTensor

_KNOWN = ("llama", "qwen2", "gpt2")  # to transformers' own reader of GGUF


@dataclass(frozen=True)
class Tensor:
    """One tensor on its way: its name there, its type, and how it lies."""

    info: TensorInfo
    name: str
    kind: str
    order: Order
    heads: int
    scheme: str  # the kind of its scheme

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape there, outputs first."""
        return lying(self.info.shape, self.order)


@dataclass(frozen=True)
class Read:
    """A written file, and the tensors that are to be in it."""

    path: Path
    tensors: tuple[Tensor, ...]
    arch: str

    @cached_property
    def _held(self) -> dict[str, ReaderTensor]:
        from gguf import GGUFReader

        return {tensor.name: tensor for tensor in GGUFReader(self.path).tensors}

    def data(self, tensor: Tensor) -> np.ndarray:
        """The bytes of a tensor.

        Raises:
            VerifyError: it is not there.
        """
        if tensor.name not in self._held:
            raise VerifyError(f'tensor "{tensor.name}" is not there when read back')
        return np.ascontiguousarray(self._held[tensor.name].data)

    def values(self, tensor: Tensor) -> np.ndarray:
        """The values of a tensor, float32, as the Taut file has it."""
        return self.rows(tensor, 0, (*tensor.shape, 1)[0], tensor.heads)

    def rows(self, tensor: Tensor, begin: int, end: int, heads: int) -> np.ndarray:
        """Some rows of them, which are those of so many heads; of a transposed tensor all."""
        from gguf import dequantize

        rows = self.data(tensor)
        whole = tensor.order == "transposed" or end - begin == (*tensor.shape, 1)[0]
        values = dequantize(rows if whole else rows[begin:end], self._held[tensor.name].tensor_type)
        shape = tensor.shape if whole else (end - begin, *tensor.shape[1:])
        return restored(values.reshape(shape), tensor.order, heads)


def load_gguf(read: Read, companions: Path) -> str:
    """Have transformers make the network of the file, where it can; what did read it.

    Raises:
        VerifyError: it does not load, or gives other weights.
    """
    alone = f"gguf {version('gguf')}, and by no runtime"
    if read.arch not in _KNOWN or not can_load():
        return alone
    if 8 * sum(prod(t.info.shape) for t in read.tensors) > psutil.virtual_memory().available:
        return f"{alone}: there is not the memory"
    state = _network(read, companions).state_dict()
    for tensor in read.tensors:
        name = tensor.info.name
        held = next((state[n] for n in (name, f"transformer.{name}") if n in state), None)
        if held is None or not np.array_equal(held.float().numpy(), read.values(tensor)):
            raise VerifyError(f'tensor "{name}" has other values when loaded', tensor=name)
    return f"gguf {version('gguf')} and transformers {version('transformers')}"


def _network(read: Read, companions: Path) -> torch.nn.Module:
    kind, config = network_of(companions)  # GPT-2's vocabulary it does not learn from the file
    try:
        with quiet():
            net, told = kind.from_pretrained(  # type: ignore[attr-defined]
                str(read.path.parent),
                gguf_file=read.path.name,
                config=config if read.arch == "gpt2" else None,
                local_files_only=True,
                output_loading_info=True,
            )
    except Exception as error:  # transformers names no set of errors
        raise VerifyError(f"{read.path}: transformers cannot load it ({error})") from error
    if told["missing_keys"]:
        missing = sorted(told["missing_keys"])
        raise VerifyError(f"{read.path}: tensors are missing when loaded: {missing[0]}")
    loaded: torch.nn.Module = net
    return loaded
