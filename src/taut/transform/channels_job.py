"""A network that loses channels: its groups, copies without some of them, and what they take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from taut.errors import ArgumentError
from taut.networks.calls import applied, run
from taut.networks.copies import copy_module
from taut.networks.sharing import held_parameters
from taut.transform.channel_group import ChannelGroup
from taut.transform.channels_check import same_without
from taut.transform.channels_graph import trace
from taut.transform.channels_groups import find_groups
from taut.transform.channels_order import Chosen

if TYPE_CHECKING:
    import torch


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


class PruningJob:
    """A network, an example, the groups of channels that can go, and why others cannot."""

    def __init__(self, module: torch.nn.Module, example: object, ignore: list[str]) -> None:
        self._module, self._example = module, example
        self._whole = copy_module(module).eval()
        run(self._whole, example, "channels: example_inputs")
        self.groups, self.kept = find_groups(trace(self.copy(), example), ignore)
        self._keep_unsafe()
        if not self.groups:
            said = "; ".join(f'"{name}": {why}' for name, why in list(self.kept.items())[:8])
            raise ArgumentError(f"channels: none can be removed{': ' if said else ''}{said}")

    def copy(self) -> torch.nn.Module:
        """The whole network, in evaluation mode and with gradients for all its weights."""
        fresh = copy_module(self._whole)
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

        Units of all groups are taken away at once; group by group only if that goes wrong, or where
        layers share a parameter, which two groups may make equally narrow by chance.
        """
        trial = {name: _some(group) for name, group in self.groups.items()}
        if _shares(self._whole) or self._trouble(trial):
            for name, units in trial.items():
                reason = self._trouble({name: units})
                if reason:
                    self.kept[name] = f"without some of its channels, {reason}"
            self.groups = {name: g for name, g in self.groups.items() if name not in self.kept}

    def _trouble(self, chosen: Chosen) -> str | None:
        try:
            small = self.without(chosen)
        except ArgumentError as error:
            return str(error).removeprefix("channels: ")
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


def _shares(module: torch.nn.Module) -> bool:
    """Whether modules share a parameter."""
    return any(
        len({id(holder.owner) for holder in one.places}) > 1 for one in held_parameters(module)
    )


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
