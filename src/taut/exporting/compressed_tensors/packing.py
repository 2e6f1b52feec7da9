"""Which linear layers are packed, and on what grid: what was asked for, and the schemes' own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from taut.container import TautFile
from taut.errors import ArgumentError
from taut.exporting.compressed_tensors.packed import PackedGrid
from taut.exporting.shards import SHARD
from taut.exporting.transformers_network import Linears
from taut.scheme import Scheme, parse_scheme

_BITS: Final = {"int8": 8, "int4": 4}
_FLOATS: Final = ("F32", "F16", "BF16")
_GROUP: Final = 128  # columns of int4 that share a scale, where nothing says how many


@dataclass(frozen=True)
class Packing:
    """What was asked for; None stands for what follows from the file's schemes.

    `weights` is int8 or int4, by default what most linear layers' schemes are, and `group_size`
    the columns that share a scale: by default the schemes' own, else 128 of int4 and a whole row
    of int8. `activations` "dynamic" has int8 weights run with int8 activations. Weights are written
    in shards of `limit` bytes.
    """

    weights: str | None = None
    group_size: int | None = None
    activations: str | None = None
    limit: int = SHARD


def packable(file: TautFile, linears: Linears) -> list[str]:
    """The weights of the network's linear layers, but for its outputs'."""
    infos = {info.name: info for info in file.infos}
    names = [f"{name}.weight" for name in linears.body]
    found = [n for n in names if n in infos and infos[n].dtype in _FLOATS]
    if not found:
        raise ArgumentError(
            f"{file.path}: {linears.kind} has {len(linears.body)} linear layers, and none of their "
            "weights is in the file; compressed-tensors packs linear layers alone"
        )
    return found


def choose_grid(file: TautFile, packed: Sequence[str], packing: Packing) -> PackedGrid:
    """What was asked for, filled up from the schemes of the weights that are packed.

    Raises:
        ArgumentError: compressed-tensors does not take what was asked for, or the schemes.
    """
    if packing.weights is not None and packing.weights not in _BITS:
        raise ArgumentError(
            f"weights {packing.weights}: compressed-tensors takes {', '.join(_BITS)}"
        )
    all_schemes = {record.name: parse_scheme(record.scheme) for record in file.index.records}
    schemes = {name: all_schemes[name] for name in packed}
    weights = packing.weights or _usual(file, schemes)
    group, asymmetric = _groups(schemes, weights, packing.group_size)
    if packing.activations not in (None, "none", "dynamic"):
        raise ArgumentError(
            f"activations {packing.activations}: compressed-tensors takes none or dynamic"
        )
    dynamic = packing.activations == "dynamic"
    if dynamic and (weights != "int8" or group is not None):
        raise ArgumentError("activations dynamic: goes with weights int8, a scale a row")
    return PackedGrid(_BITS[weights], group, asymmetric, dynamic)


def _usual(file: TautFile, schemes: Mapping[str, Scheme]) -> str:
    """The weights that most of the layers already have."""
    most = Counter(scheme.kind for scheme in schemes.values()).most_common(1)[0][0]
    if most not in _BITS:
        raise ArgumentError(
            f"{file.path}: its linear layers are {most}, which is no grid of "
            "compressed-tensors; say weights (--weights) int8 or int4, and they are rounded"
        )
    return most


def _groups(
    schemes: Mapping[str, Scheme], weights: str, group_size: int | None
) -> tuple[int | None, bool]:
    """How many columns share a scale (None: a whole row), and whether they have a zero point."""
    same = Counter(
        (scheme.group_size, scheme.asymmetric)
        for scheme in schemes.values()
        if scheme.kind == weights
    )
    group, asymmetric = same.most_common(1)[0][0] if same else (None, False)
    if group_size is not None or (weights == "int4" and not same):
        group = group_size or _GROUP
    return group, asymmetric


def divided(file: TautFile, packed: Sequence[str], grid: PackedGrid) -> list[str]:
    """Those weights whose columns the group divides."""
    if grid.group is None:
        return list(packed)
    columns = {info.name: info.shape[1] for info in file.infos if info.name in set(packed)}
    found = [name for name in packed if columns[name] % grid.group == 0]
    if grid.group < 1 or not found:
        widths = ", ".join(map(str, sorted(set(columns.values()))[:6]))
        raise ArgumentError(
            f"group size {grid.group} divides the columns of none of {len(packed)} linear layers "
            f"({widths}); name one that does (--group-size)"
        )
    return found
