"""Rounding block after block, each on what the blocks before it give once they are compressed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from laconic.analyze import Curvature
from laconic.analyze.inputs import Inputs, collect_inputs

if TYPE_CHECKING:
    import torch


def blocks_of(stages: Mapping[str, int]) -> list[list[str]]:
    """Tensors in the order of their first use, by block: names alike up to their last number.

    >>> blocks_of({"emb.weight": 0, "l.0.a.weight": 1, "l.0.b.weight": 2, "l.1.a.weight": 3})
    [['emb.weight'], ['l.0.a.weight', 'l.0.b.weight'], ['l.1.a.weight']]
    """
    found: dict[str, list[str]] = {}
    for name in sorted(stages, key=lambda one: (stages[one], one)):
        found.setdefault(_block(name), []).append(name)
    return list(found.values())


def _block(name: str) -> str:
    parts = name.split(".")
    numbers = [i for i, part in enumerate(parts) if part.isdigit()]
    return ".".join(parts[: numbers[-1] + 1]) if numbers else name


def moments(
    names: Iterable[str],
    networks: tuple[torch.nn.Module, torch.nn.Module],
    parameters: Mapping[str, str],
    batches: Iterable[object],
) -> dict[str, Inputs]:
    """The inputs' moments of these tensors in the original and in the network compressed so far.

    `parameters` maps tensors to the networks' parameters.
    """
    own = [dict(network.named_parameters(remove_duplicate=False)) for network in networks]
    wanted = [name for name in names if parameters.get(name) in own[0]]
    first, second = ({name: known[parameters[name]] for name in wanted} for known in own)
    return collect_inputs(first, second, networks, batches)


def aimed(
    values: np.ndarray, curvature: Curvature, inputs: Inputs, damping: float
) -> tuple[np.ndarray, Curvature]:
    """What to round instead of W, and in which metric, once the inputs x' differ from x.

    The mean of |W x - V x'|^2 is that of |(W* - V) x'|^2 and a constant, with
    W* = W (mean x x'^T) (mean x' x'^T)^-1 (GPTAQ, Li et al. 2025). Damping draws W* toward W.
    """
    changed = inputs.changed
    some = damping * float(np.mean(np.diag(changed))) * np.eye(len(changed))
    matrix = values.reshape(values.shape[0], -1).astype(np.float64)
    if inputs.swapped:
        target = np.linalg.solve(changed + some, inputs.crossed.T @ matrix + some @ matrix)
        return target.astype(np.float32), replace(curvature, rows=changed)
    target = np.linalg.solve(changed + some, (matrix @ (inputs.crossed + some)).T).T
    return target.astype(np.float32), replace(curvature, columns=changed)


def is_fit(curvature: Curvature | None, inputs: Inputs | None) -> bool:
    """Whether the moments are those of the curvature's side that inputs make."""
    if curvature is None or inputs is None:
        return False
    side = curvature.rows if inputs.swapped else curvature.columns
    return side.ndim == 2 and side.shape == inputs.changed.shape and "+" not in curvature.kind


__all__ = ["aimed", "blocks_of", "is_fit", "moments"]
