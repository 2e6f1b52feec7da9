"""What a trained network is written as: for each tensor the integers that it was trained as."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final as Fixed

import numpy as np
import torch
from numpy.typing import NDArray

from taut.calibration.overlay import Overlay, as_stored
from taut.errors import ArgumentError
from taut.io import Source, TensorInfo
from taut.networks import LoadedModel
from taut.networks.copies import copy_module
from taut.scheme import Scheme
from taut.training.alive import to_wake
from taut.training.fold import folded_statistics
from taut.training.learnt_steps import grid_of
from taut.training.student import Student, Twin
from taut.transform import Grid, Indices, Rounded
from taut.transform.lowbit import fp8
from taut.transform.runtime import GRIDS, make_grid, masked, scheme_mask

_FINEST: Fixed = 1 / 256  # of a vector's root mean square: its smallest step
_COARSEST: Fixed = 1 / 8
_BELOW: Fixed = 64.0  # so much less noise has a vector than the matrices have, in power
_NOISE: Fixed = 0.01  # relative, where no matrix says how much there is

_NO_OFFSETS: Fixed = (0.0, 0.0, 0.0)


@dataclass
class Written:
    """Carries out the schemes of a trained network.

    `grids` are the trained tensors', by the tensors' names; what was not trained on a grid is
    rounded to its scheme's, or, under the dial, at a fine step of its own.
    """

    grids: Mapping[str, Grid | Indices]
    noise: float = _NOISE

    def __call__(
        self, info: TensorInfo, values: np.ndarray, scheme: Scheme
    ) -> Grid | Indices | Rounded:
        """The tensor's integers."""
        grid = self.grids.get(info.name)
        if grid is not None:
            return grid
        if scheme.kind == "rd":
            return fine(values, self.noise)
        if scheme.kind in GRIDS:  # norms and statistics, recurrent layers
            return make_grid(values, scheme, scheme_mask(values, scheme, info.name))
        raise ArgumentError(f'tensor "{info.name}": scheme {scheme} was not trained')


@dataclass
class Final:
    """A trained network as it would be written: `source` has its values, `written` its integers.

    `ratios` are the weights in steps, of the tensors under the dial; `axes` are those of them along
    which no slice may become zero.
    """

    source: Source
    schemes: dict[str, Scheme]
    written: Written
    ratios: dict[str, NDArray[np.float32]]
    axes: Mapping[str, int]
    notes: list[str] = field(default_factory=list)
    size: int = 0

    def trimmed(self, threshold: float) -> Final:
        """The same with zeros where a weight is nearer to zero than so many steps."""
        grids = dict(self.written.grids)
        for name, ratio in self.ratios.items():
            grid = grids[name]
            if isinstance(grid, Indices):
                grids[name] = replace(grid, values=grid.values * (np.abs(ratio) >= threshold))
        return replace(self, written=replace(self.written, grids=grids), notes=list(self.notes))

    def coarsened(self, factor: float) -> Final:
        """The same with steps so many times larger, each weight rounded anew."""
        grids = dict(self.written.grids)
        for name, ratio in self.ratios.items():
            grid = grids[name]
            if isinstance(grid, Indices):
                index = np.rint(ratio / factor).astype(np.int32)
                if name in self.axes:
                    index = _awake(index, ratio, self.axes[name])
                grids[name] = Indices(index, float(np.float32(grid.step * factor)), grid.offsets)
        return replace(self, written=replace(self.written, grids=grids), notes=list(self.notes))

    def emptied(self, parts: Mapping[str, NDArray[np.bool_]]) -> Final:
        """The same with zeros in these parts (equal runs) of tensors, and coarse norms.

        Tensors with levels of their own, which may have no zero, stay.
        """
        grids = dict(self.written.grids)
        for name, which in parts.items():
            grid = grids.get(name)
            if isinstance(grid, Indices):
                grids[name] = replace(grid, values=_zeroed(grid.values, which))
            elif isinstance(grid, Grid) and grid.levels is None:
                grids[name] = replace(grid, indices=_zeroed(grid.indices, which))
        written = replace(self.written, grids=grids, noise=math.inf)
        return replace(self, written=written, notes=list(self.notes))

    def network(self, model: LoadedModel) -> torch.nn.Module:
        """A network with the values that a reader of the file gets."""
        module = copy_module(model.module)
        own = {
            **dict(module.named_parameters(remove_duplicate=False)),
            **dict(module.named_buffers(remove_duplicate=False)),
        }
        with torch.no_grad():
            for info in self.source.infos:
                if info.name in self.source.aliases or info.name not in model.names:
                    continue
                held = own[model.names[info.name]]
                if not held.is_floating_point():
                    continue
                held.copy_(torch.from_numpy(self.decoded(info)).reshape(held.shape))
        return module.eval()

    def decoded(self, info: TensorInfo) -> NDArray[np.float32]:
        """A tensor as it will be decoded, in float32."""
        values, scheme = self.source.load(info.name), self.schemes[info.name]
        if info.name in self.written.grids or scheme.kind in ("rd", *GRIDS):
            found = self.written(info, values, scheme)
            if isinstance(found, Grid):
                values = found.values(values.dtype)
            elif isinstance(found, Indices):
                values = (found.values.astype(np.float32) * np.float32(found.step)).astype(
                    values.dtype
                )
        elif scheme.kind in ("lossless", "fp16"):
            values = masked(values, scheme_mask(values, scheme, info.name))
            if scheme.kind == "fp16":
                values = values.astype(np.float16).astype(values.dtype)
        return np.array(values, dtype=np.float32)


@torch.no_grad()
def final_state(
    student: Student, source: Source, schemes: Mapping[str, Scheme], names: Mapping[str, str]
) -> Final:
    """What a student would be written as now; the student goes on as it is."""
    infos = {info.name: info for info in source.infos if info.name not in source.aliases}
    held = {tensor: names[tensor] for tensor in infos if tensor in names}
    trained = _trained(student, held)
    grids = _grids(trained)
    floats = {**_untrained(student, held), **_floats(trained, grids)}
    values = {tensor: as_stored(infos[tensor], _array(one)) for tensor, one in floats.items()}
    ratios = _ratios(trained, grids)
    written = Written(grids, _noise(grids, ratios))
    untrained = {tensor: values[tensor] for tensor in values.keys() - trained.keys()}
    return Final(
        Overlay(source, values), _exact(schemes, untrained), written, ratios, _axes(trained)
    )


def _trained(student: Student, held: Mapping[str, str]) -> dict[str, Twin]:
    """The twins of the student, by the tensors that they are written as."""
    twins = {name: twin for twin in student.twins for name in twin.names}
    return {tensor: twins[name] for tensor, name in held.items() if name in twins}


def _untrained(student: Student, held: Mapping[str, str]) -> dict[str, torch.Tensor]:
    """What is written of all that is no twin."""
    rest = _rest(student)
    return {tensor: rest[name] for tensor, name in held.items() if name in rest}


def _floats(
    trained: Mapping[str, Twin], grids: Mapping[str, Grid | Indices]
) -> dict[str, torch.Tensor]:
    """The values of trained tensors: as they are, or masked where they have no integers."""
    return {
        tensor: twin.original if tensor in grids else twin.value()
        for tensor, twin in trained.items()
    }


def _grids(trained: Mapping[str, Twin]) -> dict[str, Grid | Indices]:
    """The integers of all trained tensors that have some."""
    found = {tensor: _grid(twin) for tensor, twin in trained.items()}
    return {tensor: grid for tensor, grid in found.items() if grid is not None}


def _ratios(
    trained: Mapping[str, Twin], grids: Mapping[str, Grid | Indices]
) -> dict[str, NDArray[np.float32]]:
    """The weights in steps, of the tensors under the dial."""
    dialled = [tensor for tensor, grid in grids.items() if isinstance(grid, Indices)]
    found = {tensor: trained[tensor].quant.ratio(trained[tensor].original) for tensor in dialled}
    return {tensor: _array(ratio) for tensor, ratio in found.items() if ratio is not None}


def _axes(trained: Mapping[str, Twin]) -> dict[str, int]:
    axes = {tensor: twin.quant.norm_axis for tensor, twin in trained.items()}
    return {tensor: axis for tensor, axis in axes.items() if axis is not None}


def _awake(index: NDArray[np.int32], ratio: NDArray[np.float32], axis: int) -> NDArray[np.int32]:
    """The indices with a one where a slice would be zero as a whole."""
    wake = to_wake(torch.from_numpy(index), torch.from_numpy(np.abs(ratio)), axis).numpy()
    return np.where(wake, np.where(ratio < 0, -1, 1), index).astype(np.int32)


def _exact(schemes: Mapping[str, Scheme], untrained: Mapping[str, np.ndarray]) -> dict[str, Scheme]:
    """The schemes, with untrained tensors under the dial as they are where they are constant."""
    dialled = [tensor for tensor in untrained if schemes[tensor].kind == "rd"]
    constant = [tensor for tensor in dialled if not _rounds(untrained[tensor])]
    return {**schemes, **dict.fromkeys(constant, Scheme())}


def _zeroed(values: NDArray[np.int32], which: NDArray[np.bool_]) -> NDArray[np.int32]:
    return (values.reshape(len(which), -1) * ~which[:, None]).reshape(values.shape)


def _rounds(values: np.ndarray) -> bool:
    """Whether a vector is to be rounded: what is constant costs nothing as it is."""
    return bool(np.isfinite(values).all()) and bool((values != values.flat[0]).any())


def _rest(student: Student) -> dict[str, torch.Tensor]:
    """What is no twin, by name: norms with their statistics folded, other floats as they are."""
    module = student.module
    twins = {id(twin.original) for twin in student.twins}
    named = [
        *module.named_parameters(remove_duplicate=False),
        *module.named_buffers(remove_duplicate=False),
    ]
    found = {n: t for n, t in named if id(t) not in twins and t.is_floating_point()}
    return {**found, **folded_statistics(module)}


def _grid(twin: Twin) -> Grid | Indices | None:
    """The integers of a trained tensor, and what they stand for."""
    if twin.scheme.kind == "fp8":
        mask = twin.quant.mask
        kept = None if mask is None else mask.cpu().numpy()
        return fp8(_array(twin.original), mask=kept)
    index = twin.index()
    if index is None:
        return None
    integers = index.to(torch.int32).cpu().numpy().reshape(twin.original.shape)
    table, scales = twin.quant.levels(), twin.quant.scales(twin.original)
    if table is not None:
        return Grid(integers, levels=_array(table[0]), low=table[1])
    assert scales is not None
    if scales.ndim == 0:
        return Indices(integers, float(scales), _NO_OFFSETS)
    group = getattr(twin.quant, "group", None)
    return Grid(integers, scales=_array(scales.reshape(-1, scales.shape[-1])), group=group)


def _noise(grids: Mapping[str, Grid | Indices], ratios: Mapping[str, NDArray[np.float32]]) -> float:
    """The relative noise that rounding made of the tensors under the dial, the least of them."""
    found = [
        1 / 12 / float(np.mean(np.square(ratio)))
        for name, ratio in ratios.items()
        if ratio.size > 256 and ratio.any()
    ]
    return min(found, default=_NOISE)


def fine(values: np.ndarray, noise: float) -> Indices:
    """A vector at a step so fine that its noise is 1/64 of `noise`, both relative powers.

    Rounding at a step of s makes noise of power s^2 / 12. A few values that are multiples of one
    step (a pruning mask is) keep it, and are exact.
    """
    own = grid_of(torch.from_numpy(values.astype(np.float32)))
    if own is not None:
        return Indices(np.rint(values / own).astype(np.int32), float(np.float32(own)), _NO_OFFSETS)
    flat = values.astype(np.float64)
    size = math.sqrt(float(np.mean(flat * flat))) if flat.size else 0.0
    share = min(_COARSEST, max(_FINEST, math.sqrt(12 * noise / _BELOW)))
    step = float(np.float32(size * share)) or 1.0
    return Indices(np.rint(flat / step).astype(np.int32), step, _NO_OFFSETS)


def _array(tensor: torch.Tensor) -> NDArray[np.float32]:
    found: NDArray[np.float32] = tensor.detach().float().cpu().numpy()
    return found
