"""Which tensors a GGUF file holds, under which names, in which types and orders."""

from __future__ import annotations

from collections import Counter
from typing import Final

import numpy as np

from taut.container import TautFile
from taut.errors import ArgumentError
from taut.exporting.gguf.blocks import type_of
from taut.exporting.gguf.load_back import Tensor
from taut.exporting.gguf.networks import Config, GgufNetwork, heads_of, lying, number
from taut.scheme import parse_scheme

_FLOATS: Final = ("F64", "F32", "F16", "BF16")
_GRIDS: Final = ("int8", "int4", "int3", "int2", "ternary", "binary")


def usual_weights(file: TautFile) -> str:
    """The weights that most matrices of the file already have."""
    kinds: Counter[str] = Counter()
    for record in file.index.records:
        if len(record.shape) >= 2 and record.dtype in _FLOATS:
            scheme = parse_scheme(record.scheme)
            own = {"F16": "float16", "BF16": "bfloat16"}.get(record.dtype, "float32")
            on_grid = scheme.kind == "int8" or (scheme.kind, scheme.group_size) == ("int4", 32)
            kinds[scheme.kind if on_grid else own] += int(np.prod(record.shape))
    return kinds.most_common(1)[0][0] if kinds else "float32"


def place_tensors(
    file: TautFile, network: GgufNetwork, config: Config, wanted: str
) -> tuple[list[Tensor], list[str]]:
    """What is written, and the names of what is not: a runtime makes it, or it is tied."""
    from gguf import MODEL_ARCH, MODEL_ARCH_NAMES, get_tensor_name_map

    arch = next(one for one in MODEL_ARCH if MODEL_ARCH_NAMES[one] == network.arch)
    names = get_tensor_name_map(arch, number(config, network.layers))
    tied = _tied(file, config)
    schemes = {record.name: parse_scheme(record.scheme).kind for record in file.index.records}
    found: list[Tensor] = []
    left: list[str] = []
    for info in file.infos:
        if info.name in tied or info.name.endswith(network.unused):
            left.append(info.name)
            continue
        name = names.get_name(info.name.removeprefix("bert."), try_suffixes=(".weight", ".bias"))
        if name is None or info.dtype not in _FLOATS:
            raise ArgumentError(
                f'{file.path}: tensor "{info.name}" ({info.dtype}) has no place in a '
                f"{network.arch} of GGUF"
            )
        order = network.order(info.name)
        found.append(
            Tensor(
                info=info,
                name=name,
                kind=type_of(name, lying(info.shape, order), wanted),
                order=order,
                heads=heads_of(info.name, config) if order == "heads" else 1,
                gridded=schemes[info.name] in _GRIDS,
            )
        )
    return found, left


def _tied(file: TautFile, config: Config) -> set[str]:
    """Names of tensors that are another one, in the file or by the config."""
    found = {record.name for record in file.index.records if record.tied}
    return found | ({"lm_head.weight"} if config.get("tie_word_embeddings") else set())
