"""Which tensors a GGUF file holds, under which names, in which types and orders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from math import prod
from typing import Final

from taut.container import TautFile
from taut.errors import ArgumentError
from taut.exporting.gguf.blocks import held_type, own_type, type_of
from taut.exporting.gguf.load_back import Tensor
from taut.exporting.gguf.networks import Config, GgufNetwork, heads_of, number
from taut.exporting.gguf.row_parts import RowParts
from taut.io import TensorInfo
from taut.io.gguf_metadata import METADATA
from taut.scheme import recorded_scheme

_FLOATS: Final = ("F64", "F32", "F16", "BF16")


@dataclass(frozen=True)
class Placing:
    """The tensors that are written, and the names of those that are not: made anew, or tied."""

    tensors: tuple[Tensor, ...]
    left: tuple[str, ...]

    def usual(self) -> str:
        """The type of most weights of matrices."""
        kinds: Counter[str] = Counter()
        for tensor in self.tensors:
            if len(tensor.shape) >= 2:
                kinds[tensor.kind] += prod(tensor.shape)
        return kinds.most_common(1)[0][0] if kinds else "F32"


def place_tensors(
    file: TautFile, network: GgufNetwork, config: Config, wanted: str | None
) -> Placing:
    """Where each tensor goes, and in which type: matrices in `wanted`, by default as they are.

    Raises:
        ArgumentError: a tensor has no place in the network.
    """
    from gguf import MODEL_ARCH, MODEL_ARCH_NAMES, get_tensor_name_map

    arch = next(one for one in MODEL_ARCH if MODEL_ARCH_NAMES[one] == network.arch)
    names = get_tensor_name_map(arch, number(config, network.layers))
    tied = _tied(file, config)
    schemes = {record.name: recorded_scheme(record.scheme).kind for record in file.index.records}
    beside = file.index.origin.metadata.get(METADATA)
    infos = [info for info in file.infos if info.name != beside]
    left = tuple(one.name for one in infos if _is_left(one.name, tied, network))
    found = []
    for info in infos:
        if _is_left(info.name, tied, network):
            continue
        name = names.get_name(info.name.removeprefix("bert."), try_suffixes=(".weight", ".bias"))
        placed = _placed(file, info, name, network, config, schemes[info.name])
        found.append(replace(placed, kind=_kind(file, placed, wanted)))
    return Placing(tuple(found), left)


def _is_left(name: str, tied: Collection[str], network: GgufNetwork) -> bool:
    """Whether a tensor is not written: it is another one, or llama.cpp makes it anew."""
    return name in tied or name.endswith(network.unused)


def _placed(
    file: TautFile,
    info: TensorInfo,
    name: str | None,
    network: GgufNetwork,
    config: Config,
    scheme: str,
) -> Tensor:
    """A tensor under its name in GGUF, in the order that it has there.

    Raises:
        ArgumentError: it has no place in the network.
    """
    if name is None or info.dtype not in _FLOATS:
        raise ArgumentError(
            f'{file.path}: tensor "{info.name}" ({info.dtype}) has no place in a '
            f"{network.arch} of GGUF"
        )
    order = network.order(info.name)
    heads = heads_of(info.name, config) if order == "heads" else 1
    return Tensor(info=info, name=name, kind="F32", order=order, heads=heads, scheme=scheme)


def _kind(file: TautFile, tensor: Tensor, wanted: str | None) -> str:
    """The type of a tensor: the one that is wanted, or that which holds it as it is."""
    if wanted is not None or len(tensor.shape) < 2:
        return type_of(tensor.name, tensor.shape, wanted or "F32")
    if tensor.scheme in ("lossless", "keep"):
        return own_type(tensor.name, tensor.shape, tensor.info.dtype)
    values = RowParts(file, tensor).values
    return held_type(tensor.name, tensor.shape, tensor.info.dtype, values, tensor.scheme)


def _tied(file: TautFile, config: Config) -> set[str]:
    """Names of tensors that are another one, in the file or by the config."""
    found = {record.name for record in file.index.records if record.tied}
    return found | ({"lm_head.weight"} if config.get("tie_word_embeddings") else set())
