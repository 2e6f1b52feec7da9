"""What layers are given by a network that is compressed in part, beside what the original gives.

Calibrating a block on the outputs of the compressed blocks before it needs, of each weight, the
second moment of its inputs there, mean x' x'^T, and the mean of x x'^T, x being the original's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from laconic.analyze._calls import Call, recognise
from laconic.analyze._conv import patches
from laconic.analyze._module import run

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Inputs:
    """Moments of a weight's inputs, (n, n) float64: `changed` x' x'^T, `crossed` x x'^T.

    `swapped`: the weight's first axis takes the inputs, as in `x @ weight`.
    """

    changed: NDArray[np.float64]
    crossed: NDArray[np.float64]
    swapped: bool


class _EnoughError(BaseException):
    """All weights that were asked for have been met; no error, so that none handles it as one."""


def collect_inputs(
    original: Mapping[str, torch.Tensor],
    changed: Mapping[str, torch.Tensor],
    networks: tuple[torch.nn.Module, torch.nn.Module],
    batches: Iterable[object],
) -> dict[str, Inputs]:
    """Moments of the inputs of some weights, given by name as parameters of both networks.

    Linear maps and convolutions in one group are followed where a network applies the parameter
    once a pass; others are left out. Neither network is changed.
    """
    import torch

    sums: dict[str, tuple[torch.Tensor, torch.Tensor, bool]] = {}
    count: dict[str, int] = {}
    lost: set[str] = set()
    with torch.no_grad():
        for number, batch in enumerate(batches, 1):
            where = f"calibration batch {number}"
            first = _given(networks[0], original, batch, where)
            second = _given(networks[1], changed, batch, where)
            for name in original:
                if name in lost or name not in first or name not in second:
                    lost.add(name)
                    continue
                (x, swapped), (y, _) = first[name], second[name]
                live = _live(batch, x)
                x, y = _rows(x, live), _rows(y, live)
                if x.shape != y.shape:
                    lost.add(name)
                    continue
                own, cross = (y.T @ y).double(), (x.T @ y).double()
                if name in sums:
                    sums[name][0].add_(own)
                    sums[name][1].add_(cross)
                else:
                    sums[name] = own, cross, swapped
                count[name] = count.get(name, 0) + len(x)
    return {
        name: Inputs((own / count[name]).numpy(), (cross / count[name]).numpy(), swapped)
        for name, (own, cross, swapped) in sums.items()
        if name not in lost and count[name]
    }


def _given(
    network: torch.nn.Module, weights: Mapping[str, torch.Tensor], batch: object, where: str
) -> dict[str, tuple[torch.Tensor, bool]]:
    """What each weight is applied to: inputs or patches, features last; once each."""
    from torch.overrides import TorchFunctionMode

    names = {id(weight): name for name, weight in weights.items()}
    found: dict[str, tuple[torch.Tensor, bool]] = {}
    again: set[str] = set()

    class Watch(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> object:
            call = recognise(func, args, kwargs or {})
            name = names.get(id(call.weight)) if call is not None else None
            if call is not None and name is not None:
                inputs = _features(call)
                if inputs is None or name in found:
                    again.add(name)
                else:
                    found[name] = inputs.detach().float(), call.swapped
            given = func(*args, **(kwargs or {}))
            if len(found) == len(names) and not again:
                raise _EnoughError
            return given

    try:
        with Watch():
            run(network, batch, where)
    except _EnoughError:
        pass
    return {name: one for name, one in found.items() if name not in again}


def _features(call: Call) -> torch.Tensor | None:
    if call.kind == "linear":
        return call.inputs
    if call.kind == "conv" and call.geometry is not None and call.geometry.groups == 1:
        return patches(call.inputs, call.geometry)
    return None


def _live(batch: object, inputs: torch.Tensor) -> torch.Tensor | None:
    """The mask of positions that are no padding, where the batch has one for these inputs."""
    mask = batch.get("attention_mask") if isinstance(batch, Mapping) else None
    if mask is None or inputs.ndim < 3 or tuple(mask.shape) != tuple(inputs.shape[:2]):
        return None
    live: torch.Tensor = mask.bool()
    return live


def _rows(inputs: torch.Tensor, live: torch.Tensor | None) -> torch.Tensor:
    if live is not None:
        inputs = inputs[live]
    return inputs.reshape(-1, inputs.shape[-1])
