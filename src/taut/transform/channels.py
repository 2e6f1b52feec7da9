"""Removes whole channels, heads and hidden units: what is left is a smaller dense network."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, get_args

from taut.errors import ArgumentError, TargetError
from taut.io.names import nearest
from taut.networks.calls import applied, explained, run
from taut.networks.outputs import Loss
from taut.transform.channel_group import ChannelGroup
from taut.transform.channels_check import same_without
from taut.transform.channels_graph import need_pruning, trace
from taut.transform.channels_groups import find_groups
from taut.transform.channels_importance import measure
from taut.transform.channels_order import Chosen, Order, make_order
from taut.transform.settings import Importance

if TYPE_CHECKING:
    import torch

EVALUATIONS: Final = 12  # of a score, at most


@dataclass(frozen=True)
class Cost:
    """What a network takes: parameters (tied ones once), and FLOPs for the example inputs."""

    parameters: int
    flops: int


@dataclass(frozen=True)
class PrunedNetwork:
    """A network that lost channels.

    `modules` are the integer attributes that changed, by module: what a file must hold beside the
    tensors, so that a module of the original class can be made to fit. `channels` are those of each
    group's first layer before and after; `kept` says of every group that stays whole why it must.
    """

    module: torch.nn.Module
    modules: Mapping[str, Mapping[str, int]]
    before: Cost
    after: Cost
    channels: Mapping[str, tuple[int, int]]
    kept: Mapping[str, str]

    @property
    def fraction(self) -> float:
        """The part of the channels that could go which went."""
        total = sum(before for before, _ in self.channels.values())
        return 1 - sum(after for _, after in self.channels.values()) / max(1, total)


def prune_channels(
    module: torch.nn.Module,
    example_inputs: object,
    *,
    fraction: float | None = None,
    size: float | None = None,
    flops: float | None = None,
    max_drop: float | None = None,
    evaluate: Callable[[torch.nn.Module], float] | None = None,
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
    cost at most `max_drop` of what `evaluate(model)` gives (higher is better, at most 12 calls).
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
    target, value = _check(given, evaluate, round_to)
    if importance not in get_args(Importance):
        known = ", ".join(get_args(Importance))
        raise ArgumentError(f"channels: importance: {importance!r} is unknown; give {known}")
    need_pruning()
    job = _Job(module, example_inputs, _matching(module, ignore))
    scores = measure(job.copy(), job.groups, importance, batches, loss)
    if global_ and importance != "magnitude" and target in ("size", "flops"):
        scores = {name: one / job.saved(name, target) ** 0.5 for name, one in scores.items()}
    order = make_order(job.groups, scores, round_to=round_to, global_=global_)
    chosen: Chosen
    if target == "fraction":
        chosen = order.fraction(value)
    elif target == "max_drop":
        assert evaluate is not None
        chosen = _by_score(job, order, evaluate, value)
    else:
        chosen = _by_cost(job, order, target, value)
    return job.finish(chosen)


class _Job:
    """A network, an example, the groups of channels that can go, and why others cannot."""

    def __init__(self, module: torch.nn.Module, example: object, ignore: list[str]) -> None:
        self._module, self._example = module, example
        self._whole = copy.deepcopy(module).eval()
        run(self._whole, example, "channels: example_inputs")
        self.groups, self.kept = find_groups(trace(self.copy(), example), ignore)
        self._keep_unsafe()
        if not self.groups:
            said = "; ".join(f'"{name}": {why}' for name, why in list(self.kept.items())[:8])
            raise ArgumentError(f"channels: none can be removed{': ' if said else ''}{said}")

    def copy(self) -> torch.nn.Module:
        """The whole network, in evaluation mode and with gradients for all its weights."""
        fresh = copy.deepcopy(self._whole)
        for parameter in fresh.parameters():
            parameter.requires_grad_(parameter.is_floating_point())
        return fresh

    def without(self, chosen: Chosen) -> torch.nn.Module:
        """A copy without units; its modes, ties and needs for gradients are the original's."""
        graph = trace(self.copy(), self._example)
        graph.remove(self.groups, chosen)
        _restore(graph.module, self._module)
        return graph.module

    def _keep_unsafe(self) -> None:
        """Keep whole what the graph has wrong: operations it does not know, as padding.

        Units of all groups are taken away at once; only if that goes wrong, group by group.
        """
        trial = {name: _some(group) for name, group in self.groups.items()}
        if self._trouble(trial):
            for name, units in trial.items():
                reason = self._trouble({name: units})
                if reason:
                    self.kept[name] = f"without some of its channels, {reason}"
            self.groups = {name: g for name, g in self.groups.items() if name not in self.kept}

    def _trouble(self, chosen: Chosen) -> str | None:
        try:
            small = self.without(chosen)
        except Exception as error:  # torch-pruning, where it misread the graph
            return f"the graph breaks: {type(error).__name__}: {error}"
        return same_without(self._whole, small, self._example, self.groups, chosen)

    def saved(self, name: str, target: str) -> int:
        """The parameters or FLOPs that the first unit of a group takes."""
        return max(1, self.left({}, target) - self.left({name: [0]}, target))

    def left(self, chosen: Chosen, target: str) -> int:
        """The parameters or FLOPs that are left without units."""
        found = self.cost(self.without(chosen))
        return found.parameters if target == "size" else found.flops

    def cost(self, module: torch.nn.Module) -> Cost:
        """Parameters and FLOPs."""
        import torch
        from torch.utils.flop_counter import FlopCounterMode

        modes = [(part, part.training) for part in module.modules()]
        # Gradients keep attention from a fused path of which the FLOPs are not counted.
        with torch.enable_grad(), FlopCounterMode(display=False) as counter:
            applied(module.eval(), self._example)
        for part, mode in modes:
            part.training = mode
        return Cost(sum(one.numel() for one in module.parameters()), counter.get_total_flops())

    def finish(self, chosen: Chosen) -> PrunedNetwork:
        """Make the network that comes back, and compare it with the whole one."""
        small = self.without(chosen)
        trouble = same_without(self._whole, small, self._example, self.groups, chosen)
        if trouble:
            raise ArgumentError(
                f"channels: without {', '.join(name for name, units in chosen.items() if units)}, "
                f"{trouble}; name layers that must stay whole in ignore"
            )
        channels = {
            name: (one.channels, one.channels - one.unit * len(chosen.get(name, ())))
            for name, one in self.groups.items()
        }
        before, after = self.cost(self._whole), self.cost(small)
        return PrunedNetwork(
            small, changed(self._module, small), before, after, channels, self.kept
        )


def changed(before: torch.nn.Module, after: torch.nn.Module) -> dict[str, dict[str, int]]:
    """The integer attributes of modules that differ between two networks of one structure.

    Of a LayerNorm's shape it is the last axis.
    """
    parts = dict(before.named_modules())
    found: dict[str, dict[str, int]] = {}
    for name, part in after.named_modules():
        old = vars(parts[name])
        for key, value in vars(part).items():
            if key == "normalized_shape" and value != old[key]:
                found.setdefault(name, {})[key] = int(value[-1])
            elif type(value) is int and type(old.get(key)) is int and value != old[key]:
                found.setdefault(name, {})[key] = value
    return found


def _check(
    given: Mapping[str, float | None],
    evaluate: Callable[[torch.nn.Module], float] | None,
    round_to: int | None,
) -> tuple[str, float]:
    named = {name: value for name, value in given.items() if value is not None}
    if len(named) != 1:
        said = " and ".join(named) or "none of them"
        raise ArgumentError(f"channels: give one of {', '.join(given)}; {said} given")
    ((target, value),) = named.items()
    if target == "max_drop" and evaluate is None:
        raise ArgumentError("channels: max_drop takes evaluate, a function of the model")
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


def _some(group: ChannelGroup) -> list[int]:
    """About a third of the units, in no order that a wrong mapping of channels could keep."""
    import random

    count = len(group.units)
    return sorted(random.Random(count).sample(range(count), max(1, min(count - 1, count // 3))))


def _restore(small: torch.nn.Module, original: torch.nn.Module) -> None:
    """Give a pruned copy back what making it lost: modes, frozen weights and tied weights."""
    for part, model in zip(small.modules(), original.modules(), strict=True):
        part.training = model.training
    first: dict[int, torch.nn.Parameter] = {}
    for name, old in original.named_parameters(remove_duplicate=False):
        path, _, key = name.rpartition(".")
        held = small.get_submodule(path)._parameters
        made = small.get_parameter(name)
        tied = first.setdefault(id(old), made)
        if tied.shape != made.shape:
            raise ArgumentError(f'channels: "{name}" is tied to a weight that became another')
        held[key] = tied
        tied.requires_grad_(old.requires_grad)
        tied.grad = None


def _by_cost(job: _Job, order: Order, target: str, value: float) -> Chosen:
    """The fewest units that leave at most `value` of the parameters or FLOPs."""
    whole = job.left({}, target)
    low, high = 0, len(order) - 1  # the first does not reach it, the last may
    least = job.left(order[high], target)
    if least > value * whole:
        raise ArgumentError(
            f"channels: {target}: {value:g} cannot be reached: with as little as can be left of "
            f'"{order.largest}" and all others it is {least / whole:.4f}; '
            f"give {math.ceil(least / whole * 1e4) / 1e4:.4f} or more"
        )
    while low + 1 < high:
        middle = (low + high) // 2
        if job.left(order[middle], target) <= value * whole:
            high = middle
        else:
            low = middle
    return order[high]


def _by_score(
    job: _Job, order: Order, evaluate: Callable[[torch.nn.Module], float], drop: float
) -> Chosen:
    """The most units that cost no more than `drop` of the score."""
    least = _score(evaluate, job.without({})) - drop
    places = min(len(order) - 1, 2 ** (EVALUATIONS - 1) - 1)  # what bisection can tell apart
    low, high = 0, places + 1  # the first keeps the score, and what follows the last does not
    best = math.nan
    while low + 1 < high:
        middle = (low + high) // 2
        score = _score(evaluate, job.without(order[_place(middle, places, order)]))
        if score >= least:
            low = middle
        else:
            high, best = middle, score
    if low == 0:
        raise TargetError(
            f"channels: max_drop: {drop:g} cannot be kept: with the fewest channels of "
            f'"{order.first}" gone the score is {best:g}, below {least:g}',
            best=best,
        )
    return order[_place(low, places, order)]


def _place(number: int, places: int, order: Order) -> int:
    return round(number * (len(order) - 1) / places)


def _score(evaluate: Callable[[torch.nn.Module], float], module: torch.nn.Module) -> float:
    import torch

    with explained("channels: evaluate: failed"), torch.no_grad():
        score = float(evaluate(module))
    if not math.isfinite(score):
        raise ArgumentError(f"channels: evaluate: gave {score}; it must give a finite number")
    return score
