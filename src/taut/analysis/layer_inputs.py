"""What layers are given by a network, without any gradient: for one that is compressed in part.

Calibrating a block on the outputs of the compressed blocks before it needs the second moment of
its weights' inputs there; what the loss makes of their outputs is known from the original.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from taut.analysis._conv import Geometry, patch_values, patches
from taut.analysis._gram import BLOCK, Gram, Room
from taut.analysis._layer_calls import LayerCall, recognise
from taut.analysis.curvature import MEMORY, WIDEST
from taut.machine import trim_heap
from taut.networks.calls import run
from taut.networks.straight import straight
from taut.networks.torch_calls import Function, handing_over

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Inputs:
    """The mean of x x^T of a weight's inputs x at so many positions, (n, n).

    Weights of the same inputs share the array: float64, or float32 where it is wide. `swapped`: the
    weight's first axis takes the inputs, as in `x @ weight`.
    """

    moment: NDArray[np.floating]
    swapped: bool
    positions: int


class _Enough(BaseException):  # no error, so that nobody handles it as one
    """All weights that were asked for have been met."""


def collect_inputs(
    network: torch.nn.Module, names: Iterable[str], batches: Iterable[object]
) -> dict[str, Inputs]:
    """Moments of the inputs of some of the network's parameters, by name.

    Linear maps and convolutions in one group are followed where the network applies the parameter
    once a pass; others are left out. Positions that an attention mask calls padding do not count.

    >>> import torch
    >>> layer = torch.nn.Linear(2, 3)
    >>> batch = torch.tensor([[1.0, 0.0], [3.0, 0.0]])
    >>> collect_inputs(layer, ["weight"], [batch])["weight"].moment.tolist()
    [[5.0, 0.0], [0.0, 0.0]]
    """
    known = dict(network.named_parameters(remove_duplicate=False))
    wanted = {name: known[name] for name in names if name in known}

    def runs() -> Iterator[tuple[object, Callable[[], object]]]:
        for number, batch in enumerate(batches, 1):
            yield batch, partial(run, network, batch, f"calibration batch {number}")

    return inputs_of(wanted, runs())


def inputs_of(
    parameters: Mapping[str, torch.Tensor],
    runs: Iterable[tuple[object, Callable[[], object]]],
    scratch: Path | None = None,
) -> dict[str, Inputs]:
    """Moments of what some parameters are applied to, by name: of batches, and what runs each.

    A run may be of a part of a network. As `collect_inputs`, which parameters are left out. Sums
    that are large lie in temporary files of `scratch`.

    Raises:
        ArgumentError: an input is NaN or infinite.
    """
    import torch

    sums = _InputSums({id(one): name for name, one in parameters.items()}, Room(MEMORY, scratch))
    with torch.no_grad():
        for number, (batch, act) in enumerate(runs, 1):
            # The first batch runs to the end: only so a second use of a weight is met.
            sums.run(batch, act, f"calibration batch {number}", whole=number == 1)
    return sums.means()


@dataclass(eq=False)
class _InputSum:
    """Of x x^T of the inputs that some weights share, and how many there were."""

    gram: Gram
    positions: int = 0
    mean: NDArray[np.floating] | None = None


class _InputSums:
    """Sums of what weights are given, by the names of the weights."""

    def __init__(self, names: Mapping[int, str], room: Room) -> None:
        self._names, self._room = names, room
        self._sums: dict[str, tuple[_InputSum, bool]] = {}
        self._lost: set[str] = set()

    def run(self, batch: object, act: Callable[[], object], where: str, *, whole: bool) -> None:
        """Add a batch: `act` runs it, to its end or until all weights are met."""
        met: dict[str, int] = {}
        # Inputs are held while the batch runs: another one has another id only so.
        added: dict[int, tuple[torch.Tensor, _InputSum]] = {}

        def handle(
            _: object, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> object:
            call = recognise(func, args, kwargs)
            name = self._names.get(id(call.weight)) if call is not None else None
            if call is not None and name is not None:
                met[name] = met.get(name, 0) + 1
                if met[name] > 1 or not self._take(name, call, batch, added, where):
                    self._lost.add(name)
            if not whole and len(met) == len(self._names):
                raise _Enough
            return func(*args, **kwargs)

        try:
            with straight(), handing_over(handle):
                act()
        except _Enough:
            pass
        self._lost |= set(self._names.values()) - met.keys()

    def means(self) -> dict[str, Inputs]:
        """The means of what was followed."""
        found = {}
        for name, (one, swapped) in self._sums.items():
            if name in self._lost or not one.positions:
                continue
            if one.mean is None:
                one.mean = one.gram.values
                one.mean /= one.positions
            found[name] = Inputs(one.mean, swapped, one.positions)
        return found

    def _take(
        self,
        name: str,
        call: LayerCall,
        batch: object,
        added: dict[int, tuple[torch.Tensor, _InputSum]],
        where: str,
    ) -> bool:
        """Add what a weight is given, once for weights of the same; False if it is not followed."""
        if call.weight.is_complex():
            return False
        parts = _parts(call, batch)
        if parts is None:
            return False
        known = self._sums.get(name)
        if id(call.inputs) in added and call.kind == "linear":
            one = added[id(call.inputs)][1]
        else:
            one = _InputSum(self._gram(call)) if known is None else known[0]
            if any(one is other for _, other in added.values()):
                return False  # weights that shared inputs no longer do
            for rows in parts:
                one.gram.add(rows, f"{where}: the input of {name}")
                one.positions += len(rows)
            added[id(call.inputs)] = call.inputs, one
        if known is not None:
            return known[0] is one
        self._sums[name] = one, call.swapped
        return True

    def _gram(self, call: LayerCall) -> Gram:
        return Gram(_width(call), self._room)


def _parts(call: LayerCall, batch: object) -> Iterator[torch.Tensor] | None:
    """Inputs or patches (positions, features) that count, some at a time; None of other layers."""
    mask = batch.get("attention_mask") if isinstance(batch, Mapping) else None
    if _width(call) > WIDEST:
        return None
    if call.kind == "linear":
        return iter([_rows(call.inputs, mask)])
    if call.kind == "conv" and call.geometry is not None and call.geometry.groups == 1:
        return _patches(call.inputs, call.geometry, mask)
    return None


def _width(call: LayerCall) -> int:
    """Features of a position: of a convolution, those of a patch."""
    if call.kind == "linear" or call.geometry is None:
        return int(call.inputs.shape[-1]) if call.inputs.ndim else 1
    channels = call.inputs.shape[-1 - len(call.geometry.kernel)]
    return int(channels) * prod(call.geometry.kernel)


def _patches(
    inputs: torch.Tensor, geometry: Geometry, mask: torch.Tensor | None
) -> Iterator[torch.Tensor]:
    """Of some samples at a time: patches are several times as large as the inputs."""
    single = inputs.ndim == len(geometry.kernel) + 1
    many = len(inputs) if single else max(1, BLOCK // patch_values(inputs, geometry))
    for begin in range(0, len(inputs), many):
        some = slice(begin, begin + many)
        yield _rows(patches(inputs[some], geometry), None if mask is None else mask[some])
        trim_heap()  # aligned memory that was freed is not used again by every C library


def _rows(inputs: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Inputs at live positions, (positions, features) float32."""
    inputs = inputs.detach().float()  # a network may turn gradients on itself
    if mask is not None and inputs.ndim > 2 and mask.shape == inputs.shape[:2]:
        inputs = inputs[mask.bool()]
    return inputs.reshape(-1, inputs.shape[-1])
