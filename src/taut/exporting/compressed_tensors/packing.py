"""Which linear layers are packed, and on what grid: what was asked for, and the schemes' own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from taut.container import TautFile
from taut.errors import ArgumentError
from taut.exporting.compressed_tensors.float_packed import FloatGrid
from taut.exporting.compressed_tensors.packed import PackedGrid
from taut.exporting.shards import SHARD
from taut.exporting.transformers_network import Linears
from taut.scheme import Scheme, recorded_scheme
from taut.transform.float4 import GROUPS

if TYPE_CHECKING:
    from taut.networks import CalibrationSpec

_BITS: Final = {"int8": 8, "int4": 4}
_KINDS: Final = (*_BITS, *GROUPS)
_FLOATS: Final = ("F32", "F16", "BF16")
_GROUP: Final = 128  # columns of int4 that share a scale, where nothing says how many


@dataclass(frozen=True)
class Packing:
    """What was asked for; None stands for what follows from the file's schemes.

    `weights` is int8, int4, nvfp4 or mxfp4, by default what most linear layers' schemes are, and
    `group_size` the columns that share a scale: by default the schemes' own, else 128 of int4 and a
    whole row of int8. `activations` "dynamic" has int8 weights run with int8 activations, which is
    the default of int8 with a scale a row: vLLM has no other int8 kernel on a CPU. Weights are
    written in shards of `limit` bytes. `calib` are data by which four-bit floats are rounded with
    feedback of errors.
    """

    weights: str | None = None
    group_size: int | None = None
    activations: str | None = None
    calib: CalibrationSpec | None = None
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


def choose_grid(file: TautFile, packed: Sequence[str], packing: Packing) -> PackedGrid | FloatGrid:
    """What was asked for, filled up from the schemes of the weights that are packed.

    Raises:
        ArgumentError: compressed-tensors does not take what was asked for, or the schemes.
    """
    if packing.weights is not None and packing.weights not in _KINDS:
        raise ArgumentError(
            f"weights {packing.weights}: compressed-tensors takes {', '.join(_KINDS)}"
        )
    all_schemes = {record.name: recorded_scheme(record.scheme) for record in file.index.records}
    schemes = {name: all_schemes[name] for name in packed}
    weights = packing.weights or _usual(file, schemes)
    if weights in GROUPS:
        return _float_grid(weights, packing)
    group, asymmetric = _groups(schemes, weights, packing.group_size)
    dynamic = _dynamic(packing.activations, by_row=weights == "int8" and group is None)
    return PackedGrid(_BITS[weights], group, asymmetric, dynamic)


def _float_grid(weights: str, packing: Packing) -> FloatGrid:
    """A grid of four-bit floats, which has groups of its own.

    Raises:
        ArgumentError: another group was asked for, or activations on a grid.
    """
    if packing.group_size not in (None, GROUPS[weights]):
        raise ArgumentError(
            f"group size {packing.group_size}: {weights} has groups of {GROUPS[weights]}; leave it "
            "out"
        )
    if packing.activations not in (None, "none"):
        raise ArgumentError(f"activations {packing.activations}: goes with weights int8")
    return FloatGrid(weights)


def _dynamic(activations: str | None, *, by_row: bool) -> bool:
    """Whether activations are rounded too, by default where runtimes can (`by_row` of int8)."""
    if activations not in (None, "none", "dynamic"):
        raise ArgumentError(f"activations {activations}: compressed-tensors takes none or dynamic")
    if activations == "dynamic" and not by_row:
        raise ArgumentError("activations dynamic: goes with weights int8, a scale a row")
    return by_row and activations != "none"


def on_grid(file: TautFile, packed: Sequence[str], grid: PackedGrid | FloatGrid) -> list[str]:
    """Those weights whose scheme is the grid itself, where all linear layers of their part are.

    Layers of one part (attention, a feed-forward network) run as one in some runtimes, which take
    all of them packed or none.

    Raises:
        ArgumentError: there is no such part.
    """
    kind = _kind(grid)
    own = (kind, grid.group, grid.asymmetric)
    schemes = {record.name: recorded_scheme(record.scheme) for record in file.index.records}
    other = {
        _part(name)
        for name in packed
        if (schemes[name].kind, schemes[name].group, schemes[name].asymmetric) != own
    }
    found = [name for name in packed if _part(name) not in other]
    if not found:
        raise ArgumentError(
            f"{file.path}: in every part of the network some linear layer is not {kind} as the "
            f"others; say weights (--weights) {kind}, and all are rounded to it"
        )
    return found


def _kind(grid: PackedGrid | FloatGrid) -> str:
    """What a scheme calls the grid."""
    if isinstance(grid, FloatGrid):
        return grid.kind
    return next(name for name, bits in _BITS.items() if bits == grid.bits)


def _part(name: str) -> str:
    """The module that a layer lies in, of the name of its weight."""
    return name.removesuffix(".weight").rpartition(".")[0]


def _usual(file: TautFile, schemes: Mapping[str, Scheme]) -> str:
    """The weights that most of the layers already have."""
    most = Counter(scheme.kind for scheme in schemes.values()).most_common(1)[0][0]
    if most not in _KINDS:
        raise ArgumentError(
            f"{file.path}: its linear layers are {most}, which is no grid of compressed-tensors; "
            f"say weights (--weights) {', '.join(_KINDS)}, and they are rounded"
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


def divided(file: TautFile, packed: Sequence[str], grid: PackedGrid | FloatGrid) -> list[str]:
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
