"""Finds the blocks of a network that run one after the other, by what a run does.

A run is followed in every ModuleList, Sequential and ModuleDict. Blocks are a chain where each is
called once, and its hidden input is the very output of the one before, and nothing else of that
output goes to a later one. A chain is believed only if it gives the network's own output, bit for
bit: a network of which something is used in another way has none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from taut.errors import ArgumentError
from taut.networks.block_calls import OutputForm, Place, hidden_of
from taut.networks.calls import evaluating, run
from taut.networks.chain import (
    Act,
    Chain,
    configs_of,
    replaced,
    uncached,
)
from taut.networks.cuts import first_sample, tensors
from taut.networks.outputs import float_parts

if TYPE_CHECKING:
    import torch

_MANY: Final = 4096  # calls of one block that are remembered: far more than a chain has


@dataclass
class _Call:
    """A call of a block: where its tensors lie, and those that it put out, hidden state first."""

    key: str
    given: dict[Place, torch.Tensor]
    inner: list[torch.Tensor]
    hidden: torch.Tensor | None
    beside: list[torch.Tensor]
    form: OutputForm


@dataclass
class _Container:
    name: str
    module: torch.nn.Module
    calls: list[_Call] = field(default_factory=list)


def find_chain(network: torch.nn.Module, batch: object) -> Chain | None:
    """The blocks that hold most of the network's weights; None if there are no two in a row.

    The network is run on the first sample of `batch`, without gradients; it is left as it was.
    """
    import torch

    if any(getattr(part, "max_norm", None) is not None for part in network.modules()):
        return None  # such an embedding changes its weight whenever it runs
    if not [*_containers(network)]:
        return None
    with torch.random.fork_rng(devices=[]), torch.no_grad(), evaluating(network):
        for one in (first_sample(batch), batch):
            try:
                return _found(network, one)
            except ArgumentError:  # it takes no sample alone
                continue
    return None


def _found(network: torch.nn.Module, batch: object) -> Chain | None:
    containers = [*_containers(network)]
    whole = _followed(network, batch, containers)
    chains = [chain for one in containers for chain in _chains(network, one, whole)]
    for chain in sorted(chains, key=lambda one: (-_weights(one), -len(one))):
        if _gives(chain, batch, whole):
            return chain
    return None


def _containers(network: torch.nn.Module) -> Iterator[_Container]:
    """What may hold a chain: lists of two modules or more, also of one within another."""
    from torch import nn

    for name, module in network.named_modules():
        if isinstance(module, (nn.ModuleList, nn.Sequential, nn.ModuleDict)) and len(module) > 1:
            yield _Container(name, module)


def _followed(network: torch.nn.Module, batch: object, containers: list[_Container]) -> object:
    """The network's output, the calls of the containers' modules noted on the way."""
    with ExitStack() as stack:
        stack.enter_context(uncached(configs_of(network)))
        for one in containers:
            acts = {key: _noting(one, key) for key in one.module._modules}
            stack.enter_context(replaced(one.module, acts))
        return run(network, batch, "a sample")


def _noting(container: _Container, key: str) -> Act:
    block = container.module._modules[key]
    assert block is not None

    def act(*args: object, **kwargs: object) -> object:
        output = block(*args, **kwargs)
        if len(container.calls) < _MANY:
            places = dict[Place, object](enumerate(args)) | dict[Place, object](kwargs)
            container.calls.append(_call(key, places, output))
        return output

    return act


def _call(key: str, places: Mapping[Place, object], output: object) -> _Call:
    import torch

    given = {at: one for at, one in places.items() if isinstance(one, torch.Tensor)}
    hidden = hidden_of(output)
    inner, handed = tensors([*places.values()]), {id(one) for one in given.values()}
    beside = [one for one in tensors(output) if one is not hidden and id(one) not in handed]
    return _Call(key, given, inner, hidden, beside, OutputForm.of(output, places))


def _chains(network: torch.nn.Module, container: _Container, whole: object) -> Iterator[Chain]:
    for place, calls in _runs(container):
        calls = calls[_entangled(calls) :]
        if calls and _is_head(container, calls[-1], whole):
            calls = calls[:-1]
        if len(calls) > 1:
            yield _of_calls(network, container, calls, place)


def _is_head(container: _Container, call: _Call, whole: object) -> bool:
    """Whether a block is a layer that gives the network's output: perhaps its predictions."""
    hidden = call.hidden
    if hidden is None or not any(_same(one, hidden) for one in float_parts(whole).values()):
        return False
    return not any(True for _ in container.module.get_submodule(call.key).children())


def _runs(container: _Container) -> Iterator[tuple[Place, list[_Call]]]:
    """Runs of two calls or more, each of a block that runs once, and is given what came before."""
    calls = container.calls
    links = [*_links(container), None]
    begin = 0
    for end in range(1, len(links) + 1):
        place = links[begin]
        if end < len(links) and place is not None and links[end] == place:
            continue
        if place is not None:
            yield place, calls[begin : end + 1]
        begin = end


def _links(container: _Container) -> Iterator[Place | None]:
    """Where each call but the first is given what the one before gave."""
    calls, times = container.calls, Counter(one.key for one in container.calls)
    for pair in pairwise(calls if len(calls) < _MANY else []):
        once = all(times[one.key] == 1 for one in pair)
        yield _link(*pair) if once and _alike(container, pair) else None


def _entangled(calls: list[_Call]) -> int:
    """How many come first, up to the last that gives a later one more than the hidden state."""
    first = 0
    for number, call in enumerate(calls):
        later = {id(one) for other in calls[number + 1 :] for one in other.inner}
        if any(id(one) in later for one in call.beside):
            first = number + 1
    return first


def _link(one: _Call, other: _Call) -> Place | None:
    """Where a call is given the hidden state that another gave."""
    for place, tensor in other.given.items():
        if one.hidden is not None and _same(one.hidden, tensor):
            return place
    return None


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one is other:
        return True
    alike = one.shape == other.shape and one.stride() == other.stride()
    return alike and one.numel() > 0 and one.data_ptr() == other.data_ptr()


def _alike(container: _Container, calls: Iterable[_Call]) -> bool:
    """Whether modules may be blocks of one chain: of one class, or layers of a list."""
    from torch import nn

    blocks = [container.module._modules[call.key] for call in calls]
    if len({type(block) for block in blocks}) == 1:
        return True
    held = all(any(p.ndim > 1 for p in block.parameters()) for block in blocks if block is not None)
    return held and isinstance(container.module, nn.ModuleList)


def _of_calls(
    network: torch.nn.Module, container: _Container, calls: list[_Call], place: Place
) -> Chain:
    keys = tuple(call.key for call in calls)
    prefix = f"{container.name}." if container.name else ""
    return Chain(
        network=network,
        container=container.module,
        keys=keys,
        names=tuple(prefix + key for key in keys),
        blocks=tuple(container.module.get_submodule(key) for key in keys),
        places=(place,) * len(keys),
        outputs=tuple(call.form for call in calls),
    )


def _weights(chain: Chain) -> int:
    held = {id(one): one.numel() for block in chain.blocks for one in block.parameters()}
    return sum(held.values())


def _gives(chain: Chain, batch: object, whole: object) -> bool:
    """Whether running the parts gives the network's own output."""
    import torch

    try:
        entered = chain.enter(batch)
        hidden = entered.hidden
        for index in range(len(chain)):
            hidden = chain.run(index, entered, hidden)
        output = chain.leave(batch, hidden)
    except Exception:  # a network may do anything with what it is not given
        return False
    one, other = float_parts(output), float_parts(whole)
    alike = one.keys() == other.keys() and bool(one)
    return alike and all(torch.equal(_known(one[at]), _known(other[at])) for at in one)


def _known(tensor: torch.Tensor) -> torch.Tensor:
    """Values that can be compared: NaN is equal to none."""
    return tensor.nan_to_num() if tensor.is_floating_point() else tensor
