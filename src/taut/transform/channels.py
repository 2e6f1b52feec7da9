"""Removes whole channels, heads and hidden units: what is left is a smaller dense network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, get_args

from taut.errors import ArgumentError
from taut.io.names import nearest
from taut.networks.outputs import Loss
from taut.transform.channels_graph import need_pruning
from taut.transform.channels_importance import measure
from taut.transform.channels_job import PrunedNetwork, PruningJob
from taut.transform.channels_order import Chosen, make_order
from taut.transform.channels_search import by_cost, by_score
from taut.transform.settings import Importance

if TYPE_CHECKING:
    import torch


def prune_channels(
    module: torch.nn.Module,
    example_inputs: object,
    *,
    fraction: float | None = None,
    size: float | None = None,
    flops: float | None = None,
    max_drop: float | None = None,
    score: Callable[[torch.nn.Module], float] | None = None,
    importance: Importance = "magnitude",
    batches: Iterable[object] | None = None,
    loss: Loss | None = None,
    ignore: Iterable[str] = (),
    round_to: int | None = None,
    global_: bool = True,
) -> PrunedNetwork:
    """A smaller copy of a network, without its least important channels; `module` is not changed.

    One of four says how many go: `fraction` of the channels; as many as leave at most `size` of
    the parameters, or at most `flops` of the FLOPs (fractions of what there is); or as many as
    cost at most `max_drop` of what `score(model)` gives (higher is better, at most 12 calls).
    Channels of all layers are compared where `global_`, else every layer gives the same fraction.
    For a size or FLOPs, what a channel is worth by its gradients is set against the root of what
    it takes.

    `example_inputs` are a tensor, a tuple of arguments or a dict of keywords. `ignore` are names of
    layers to keep all channels of, or patterns as "layer1.*". `round_to` makes what is left of a
    pruned layer a multiple of it. `loss(output, batch)` and `batches` are for "taylor" and
    "curvature".

    Groups of channels come from the dependency graph (DepGraph, Fang et al. 2023); a group that
    cannot be traced safely stays whole and is named in the result. What comes back was run and
    compared with the whole network without these channels.

    Raises:
        ArgumentError: arguments that contradict each other or the network, or a target that no
            removal reaches; the message names a layer and the nearest value that works.
        TargetError: no removal keeps the score.

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> pruned = prune_channels(net, torch.ones(1, 4), fraction=0.5)
    >>> pruned.module[0].weight.shape, pruned.modules["0"], pruned.after.parameters
    (torch.Size([4, 4]), {'out_features': 4}, 30)
    """
    given = {"fraction": fraction, "size": size, "flops": flops, "max_drop": max_drop}
    target, value = _check(given, score, round_to)
    if importance not in get_args(Importance):
        known = ", ".join(get_args(Importance))
        raise ArgumentError(f"channels: importance: {importance!r} is unknown; give {known}")
    need_pruning()
    job = PruningJob(module, example_inputs, _matching(module, ignore))
    scores = measure(job.copy(), job.groups, importance, batches, loss)
    if global_ and importance != "magnitude" and target in ("size", "flops"):
        scores = {name: one / job.saved(name, target) ** 0.5 for name, one in scores.items()}
    order = make_order(job.groups, scores, round_to=round_to, global_=global_)
    chosen: Chosen
    if target == "fraction":
        chosen = order.fraction(value)
    elif target == "max_drop":
        assert score is not None
        chosen = by_score(job, order, score, value)
    else:
        chosen = by_cost(job, order, target, value)
    return job.finish(chosen)


def _check(
    given: Mapping[str, float | None],
    score: Callable[[torch.nn.Module], float] | None,
    round_to: int | None,
) -> tuple[str, float]:
    named = {name: value for name, value in given.items() if value is not None}
    if len(named) != 1:
        said = " and ".join(named) or "none of them"
        raise ArgumentError(f"channels: give one of {', '.join(given)}; {said} given")
    ((target, value),) = named.items()
    if target == "max_drop" and score is None:
        raise ArgumentError("channels: max_drop takes score, a function of the model")
    _check_value(target, value)
    if round_to is not None and round_to < 1:
        raise ArgumentError(f"channels: round_to: {round_to!r} cannot be; give 1 or more")
    return target, float(value)


def _check_value(target: str, value: float) -> None:
    if target == "max_drop":
        if not 0 <= value < math.inf:
            raise ArgumentError(f"channels: max_drop: {value!r} cannot be; give 0 or more")
    elif not 0 < value < 1:
        raise ArgumentError(f"channels: {target}: {value!r} cannot be; give 0 to 1, both excluded")


def _matching(module: torch.nn.Module, patterns: Iterable[str]) -> list[str]:
    """The names of the modules that patterns mean, with all that is in them, and of parameters."""
    names = [name for name, _ in module.named_modules() if name]
    names += [name for name, _ in module.named_parameters()]
    found: set[str] = set()
    for pattern in (patterns,) if isinstance(patterns, str) else patterns:
        found |= _meant(pattern, names)
    return sorted(found)


def _meant(pattern: str, names: list[str]) -> set[str]:
    hit = {name for name in names if fnmatchcase(name, pattern)}
    if not hit:
        raise ArgumentError(f'channels: ignore: "{pattern}" is no layer{nearest(pattern, names)}')
    return hit | {name for name in names for one in hit if name.startswith(f"{one}.")}
