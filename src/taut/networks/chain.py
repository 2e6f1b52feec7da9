"""A network as a front, blocks that hand a hidden state on, and a head: each is run by itself.

A network of many blocks never has to be in memory, or differentiated, as a whole: the front gives
the first hidden state, each block the next one, and the head makes the network's own output of the
last. The parts are told by what a run does, not by names: `taut.networks.find_chain`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final, TypeAlias

from taut.networks.block_calls import (
    OTHER_WAY,
    AnotherWayError,
    Others,
    OutputForm,
    Place,
    hidden_of,
    parted,
)
from taut.networks.calls import evaluating, run
from taut.networks.cuts import mapped

if TYPE_CHECKING:
    import torch

Act: TypeAlias = Callable[..., object]
_KEEPING: Final = ("use_cache", "output_router_logits")


class _LastReached(BaseException):  # no error, so that nobody handles it as one
    """The last block has been reached."""


@dataclass(frozen=True)
class Entered:
    """What the front makes of a batch.

    `hidden` enters the first block, `others[i]` goes to block i beside it: masks, positions, or
    what an encoder gave. Tensors that several blocks are given are the same objects.
    """

    hidden: torch.Tensor
    others: tuple[Others, ...]

    def tensors(self) -> list[torch.Tensor]:
        """The tensors of floats that go beside the hidden state, each once, in their order."""
        found: dict[int, torch.Tensor] = {}
        self.with_others(lambda one: found.setdefault(id(one), one))
        return [one for one in found.values() if one.is_floating_point()]

    def with_others(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Entered:
        """The same with other tensors beside the hidden state; what was shared is shared."""
        made: dict[int, torch.Tensor] = {}

        def changed(one: torch.Tensor) -> torch.Tensor:
            if id(one) not in made:
                made[id(one)] = change(one)
            return made[id(one)]

        parts = mapped(tuple((one.args, dict(one.kwargs)) for one in self.others), changed)
        return replace(self, others=tuple(Others(*part) for part in parts))  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Chain:
    """Blocks of a network that run one after the other, once each; `names` are dotted.

    Each takes the hidden state at `places[i]` and gives the next one, as a tensor or as the first
    item of a tuple, list or mapping, like `outputs[i]`. What runs before them is the front, what
    runs after them the head; blocks of the same list may be part of either. The network is as it
    was after each call, also after one that failed.
    """

    network: torch.nn.Module
    container: torch.nn.Module
    keys: tuple[str, ...]
    names: tuple[str, ...]
    blocks: tuple[torch.nn.Module, ...]
    places: tuple[Place, ...]
    outputs: tuple[OutputForm, ...]

    @cached_property
    def _configs(self) -> list[object]:
        return configs_of(self.network)

    def __len__(self) -> int:
        """How many blocks there are."""
        return len(self.blocks)

    def enter(self, batch: object, where: str = "calibration batch") -> Entered:
        """Run the front on a batch, and nothing else.

        Raises:
            ArgumentError: the network rejects the batch, or takes another way than was found.
        """
        met: list[tuple[torch.Tensor, Others]] = []

        def reached(index: int, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
            if index != len(met):
                raise AnotherWayError(f"{where}: {OTHER_WAY}")
            hidden, others = parted(self.places[index], args, kwargs)
            met.append((hidden, others))
            if len(met) == len(self):
                raise _LastReached
            return self.outputs[index].packed(hidden, others)

        try:
            self._run(batch, where, reached)
        except _LastReached:
            hidden = met[0][0]
            return Entered(hidden, tuple(others for _, others in met))
        raise AnotherWayError(f"{where}: {OTHER_WAY}")

    def run(
        self,
        index: int,
        entered: Entered,
        hidden: torch.Tensor,
        module: torch.nn.Module | None = None,
    ) -> torch.Tensor:
        """The hidden state after a block, of that before it.

        `module` runs in the block's place: one of the same form, such as the block compressed.
        """
        block, others = module or self.blocks[index], entered.others[index]
        args, kwargs = [*others.args], {**others.kwargs}
        place = self.places[index]
        if isinstance(place, int):
            args[place] = hidden
        else:
            kwargs[place] = hidden
        with uncached(self._configs), evaluating(block):
            found = hidden_of(block(*args, **kwargs))
        assert found is not None
        return found

    def leave(
        self,
        batch: object,
        hidden: torch.Tensor,
        where: str = "calibration batch",
        *,
        reached: Callable[[list[torch.Tensor]], None] | None = None,
    ) -> object:
        """The network's own output for a batch whose last block gave `hidden`.

        The front runs once more, for what the head takes from it; the blocks do not. Gradients
        flow to `hidden` and to the head's weights. `reached` is called where the head begins, with
        the tensors of floats that the last block is given beside the hidden state.

        Raises:
            ArgumentError: as `enter`.
        """
        met = 0

        def passed(index: int, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
            nonlocal met
            if index != met:
                raise AnotherWayError(f"{where}: {OTHER_WAY}")
            met += 1
            given, others = parted(self.places[index], args, kwargs)
            if met == len(self):
                given = hidden
                if reached is not None:
                    reached(Entered(given, (others,)).tensors())
            return self.outputs[index].packed(given, others)

        return self._run(batch, where, passed)

    def _run(self, batch: object, where: str, act: Act) -> object:
        """Run the network with `act(index, args, kwargs)` in the place of each block."""
        acts = {
            key: lambda *args, _i=i, **kwargs: act(_i, args, kwargs)
            for i, key in enumerate(self.keys)
        }
        with uncached(self._configs), evaluating(self.network), replaced(self.container, acts):
            return run(self.network, batch, where)


@contextmanager
def replaced(container: torch.nn.Module, acts: Mapping[str, Act]) -> Iterator[None]:
    """Within it some of a container's modules do as told, and are else what they are.

    Hooks on them do not run: they do when the module itself is called.
    """
    held = container._modules
    before = {key: container.get_submodule(key) for key in acts}
    try:
        for key, act in acts.items():
            held[key] = _standing_in(before[key], act)
        yield
    finally:
        held.update(before)


def _standing_in(block: torch.nn.Module, act: Act) -> torch.nn.Module:
    """A module of the block's class and attributes, whose forward is another."""
    found: torch.nn.Module = object.__new__(type(block))
    hooks = {name: type(held)() for name, held in vars(block).items() if name.endswith("_hooks")}
    vars(found).update({**vars(block), **hooks, "forward": act})
    return found


@contextmanager
def uncached(configs: Iterable[object]) -> Iterator[None]:
    """Within it transformers' networks keep no keys and values: a block may run twice.

    Nor do they collect what routers within blocks put out. `configs` as `configs_of` gives them.
    """
    changed = []
    try:
        for config in configs:
            for name in _KEEPING:
                if getattr(config, name, None) is True:
                    setattr(config, name, False)
                    changed.append((config, name))
        yield
    finally:
        for config, name in changed:
            setattr(config, name, True)


def configs_of(network: torch.nn.Module) -> list[object]:
    """The configurations that transformers' modules of a network go by, each once."""
    held = (vars(part).get("config") for part in network.modules())
    return [*{id(one): one for one in held if hasattr(one, "to_diff_dict")}.values()]
