"""What layers are given by a network, without any gradient: for one that is compressed in part.

Calibrating a block on the outputs of the compressed blocks before it needs the second moment of
its weights' inputs there; what the loss makes of their outputs is known from the original.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from taut.analysis._conv import Geometry, patch_values, patches
from taut.analysis._gram import BLOCK
from taut.analysis._layer_calls import LayerCall, recognise
from taut.analysis.straight import straight
from taut.machine import trim_heap
from taut.networks.calls import run
from taut.networks.torch_calls import Function, handing_over

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Inputs:
    """The mean of x x^T of a weight's inputs x at so many positions, (n, n) float64.

    `swapped`: the weight's first axis takes the inputs, as in `x @ weight`.
    """

    moment: NDArray[np.float64]
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
    parameters: Mapping[str, torch.Tensor], runs: Iterable[tuple[object, Callable[[], object]]]
) -> dict[str, Inputs]:
    """Moments of what some parameters are applied to, by name: of batches, and what runs each.

    A run may be of a part of a network. As `collect_inputs`, which parameters are left out.
    """
    import torch

    wanted = {id(one): name for name, one in parameters.items()}
    sums: dict[str, tuple[torch.Tensor, int, bool]] = {}
    lost: set[str] = set()
    with torch.no_grad():
        for number, (batch, act) in enumerate(runs, 1):
            # The first batch runs to the end: only so a second use of a weight is met.
            found = _given(wanted, _InputSums(batch), act, number)
            lost |= set(wanted.values()) - found.keys()
            _add(sums, found)
    return {
        name: Inputs((moment / count).numpy(), swapped, count)
        for name, (moment, count, swapped) in sums.items()
        if name not in lost and count
    }


def _add(
    sums: dict[str, tuple[torch.Tensor, int, bool]],
    found: Mapping[str, tuple[torch.Tensor, int, bool]],
) -> None:
    """Add a batch's sums in place."""
    owned = {id(moment) for moment, _, _ in sums.values()}
    for name, (moment, count, swapped) in found.items():
        if name in sums:
            total, before, _ = sums[name]
            sums[name] = total.add_(moment), before + count, swapped
            continue
        # Weights of the same inputs share a batch's sum, and need not do so in the next batch.
        sums[name] = moment.clone() if id(moment) in owned else moment, count, swapped
        owned.add(id(moment))


def _given(
    names: Mapping[int, str], sums: _InputSums, act: Callable[[], object], number: int
) -> dict[str, tuple[torch.Tensor, int, bool]]:
    """The moments of what each weight is applied to, inputs or patches; of those applied once."""
    found: dict[str, tuple[torch.Tensor, int, bool]] = {}
    again: set[str] = set()

    def handle(_: object, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
        call = recognise(func, args, kwargs)
        name = names.get(id(call.weight)) if call is not None else None
        if call is not None and name is not None:
            moment = None if call.weight.is_complex() or name in found else sums.of(call)
            if moment is None:
                again.add(name)
            else:
                found[name] = *moment, call.swapped
        if number > 1 and len(found) == len(names) and not again:
            raise _Enough
        return func(*args, **kwargs)

    try:
        with straight(), handing_over(handle):
            act()
    except _Enough:
        pass
    return {name: one for name, one in found.items() if name not in again}


class _InputSums:
    """Sums of x x^T of what layers are given in a batch, and how many: patches are not kept."""

    def __init__(self, batch: object) -> None:
        self._batch = batch
        self._made: dict[int, tuple[torch.Tensor, torch.Tensor, int]] = {}  # inputs are shared

    def of(self, call: LayerCall) -> tuple[torch.Tensor, int] | None:
        """Float64 (n, n), and the positions that count; None of a layer that is not followed."""
        if call.kind == "linear":
            known = self._made.get(id(call.inputs))
            if known is None:
                known = call.inputs, *self._sum(call.inputs, self._batch)
                self._made[id(call.inputs)] = known
            return known[1], known[2]
        if call.kind == "conv" and call.geometry is not None and call.geometry.groups == 1:
            return self._of_patches(call.inputs, call.geometry)
        return None

    def _of_patches(self, inputs: torch.Tensor, geometry: Geometry) -> tuple[torch.Tensor, int]:
        """Some samples at a time: patches are several times as large as the inputs."""
        single = inputs.ndim == len(geometry.kernel) + 1
        many = len(inputs) if single else max(1, BLOCK // patch_values(inputs, geometry))
        total, count = self._sum(patches(inputs[:many], geometry), self._some(0, many))
        for begin in range(many, len(inputs), many):
            part = patches(inputs[begin : begin + many], geometry)
            moment, more = self._sum(part, self._some(begin, many))
            total, count = total + moment, count + more
            trim_heap()  # aligned memory that was freed is not used again by every C library
        return total, count

    def _some(self, begin: int, many: int) -> object:
        """The batch's mask of some samples, if it has one."""
        mask = self._batch.get("attention_mask") if isinstance(self._batch, Mapping) else None
        return {} if mask is None else {"attention_mask": mask[begin : begin + many]}

    def _sum(self, inputs: torch.Tensor, batch: object) -> tuple[torch.Tensor, int]:
        rows = _rows(inputs.detach().float(), batch)  # a network may turn gradients on itself
        return (rows.T @ rows).double(), len(rows)


def _rows(inputs: torch.Tensor, batch: object) -> torch.Tensor:
    """Inputs at live positions, (positions, features)."""
    mask = batch.get("attention_mask") if isinstance(batch, Mapping) else None
    if mask is not None and inputs.ndim > 2 and mask.shape == inputs.shape[:2]:
        inputs = inputs[mask.bool()]
    return inputs.reshape(-1, inputs.shape[-1])
