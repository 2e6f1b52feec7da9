"""Follows a model's run: each use of a tracked weight, its inputs, the gradient that comes back.

Surprise: the weight is handed to its function detached, so that backward passes spend nothing on
gradients of weights; a weight that has a gradient all the same was used in some way that is not
recognised (multiplied by another, say), and is summed as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from taut.analysis._applications import Application, application_of
from taut.analysis._block import Block
from taut.analysis._contractions import of_two
from taut.analysis._gram import Gram, Room
from taut.analysis._layer_calls import Function
from taut.analysis._terms import Layer, SharedInputs, Whole, live_positions
from taut.analysis._tracked import Tracked, TrackedWeights, tensors_of

if TYPE_CHECKING:
    import torch

_STAGES: Final = 1 << 32  # more than the weights of a part


@dataclass(eq=False)
class _Use:
    """One use in a forward pass; `inputs` shares memory with the model's unless `kept`."""

    of: Application
    inputs: torch.Tensor
    version: int
    kept: bool
    first: bool = True


@dataclass(frozen=True, eq=False)
class GivenInputs:
    """Inputs (N, n) of a layer, and the positions (N,) that are live."""

    layer: Layer
    vectors: torch.Tensor
    live: torch.Tensor
    where: str


class Capture:
    """The uses of tracked weights; `batch` names the batch for errors."""

    def __init__(self, tracked: Iterable[Tracked], room: Room, widest: int) -> None:
        self.weights = TrackedWeights(tracked)
        self.room, self.widest = room, widest
        self.batch = ""
        self._uses: list[_Use] = []
        self._outputs: dict[int, tuple[torch.Tensor, Tracked]] = {}
        self._keep: set[int] = set()  # numbers of the uses whose inputs must be copied
        self._given: dict[tuple[object, ...], list[GivenInputs]] = {}
        self._shared: dict[tuple[int, ...], tuple[list[Layer], SharedInputs]] = {}
        self._part = self._met = 0
        self._before: int | None = None  # uses before the part that gradients are taken of
        self.crossed = False  # a gradient came to one of them all the same
        self.handed: tuple[torch.Tensor, ...] = ()  # what blocks are given beside the hidden state

    def begin(self, part: int, room: Room, widest: int) -> None:
        """Turn to another part of the network, the `part`th in the order of its run."""
        self.forget()
        self.weights = TrackedWeights(self.weights.tracked)  # they may lie elsewhere now
        self.room, self.widest, self._part = room, widest, part
        self._keep.clear()
        self._shared.clear()

    def reached(self, handed: Iterable[torch.Tensor] = ()) -> None:
        """Say that what was used up to here belongs to another part, which handed these to it."""
        self._before = len(self._uses)
        self.handed = tuple(handed)

    def watch(
        self, function: Function, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> object:
        """Carry out a call of torch, and remember it if it uses a tracked weight."""
        import torch

        owners = self.weights.owners(tensors_of(args, kwargs))
        if not owners or not torch.is_grad_enabled():
            return function(*args, **kwargs)
        if function is torch.einsum:
            args = of_two(args, lambda one: self.weights.find(one) is not None)
        found = application_of(function, args, kwargs, self.weights, self.widest)
        if found is not None:
            return self._use(found, function, args, kwargs)
        result = function(*args, **kwargs)
        copied = self.weights.copied(function, args, result)
        if not copied and any(part.requires_grad for part in tensors_of((result,), {})):
            self._order(*owners)
        return result

    def maker(self, output: torch.Tensor) -> tuple[str, ...]:
        """Names of the weight of the linear layer that gave this very tensor."""
        found = self._outputs.get(id(output))
        return found[1].names if found else ()

    def broken(self) -> str:
        """Where the first value was that is no number, for errors: ` (first in the input of w)`."""
        for use in self._uses:
            if use.inputs.is_floating_point() and not use.inputs.isfinite().all():
                return f" (first in the input of {use.of.owner.names[0]})"
        return ""

    def again(self) -> bool:
        """Whether the forward pass must be run again, to copy inputs that it changed in place."""
        changed = {
            number
            for number, use in enumerate(self._uses)
            if not use.kept and use.inputs._version != use.version
        }
        for number in changed & self._keep:  # the run differs from the one before
            self._uses[number].of.owner.changed = True
        again = bool(changed - self._keep)
        self._keep |= changed
        return again

    def gradients(self) -> None:
        """Take the gradients that a backward pass left on the weights themselves."""
        for one in self.weights.tracked:
            if one.weight.grad is not None:
                if one.whole is None:
                    one.whole = Whole.of(one.height, one.count, self.room, self.widest)
                gradient = one.weight.grad
                gradient = gradient.to_dense() if gradient.is_sparse else gradient
                one.whole.add(gradient, f"{one.names[0]}, {self.batch}")
                one.weight.grad = None
                self._order(one)
        for given in self._given.values():
            self._add_inputs(given)
        self._given.clear()

    def forget(self) -> None:
        """Drop the run, before the next."""
        self._uses.clear()
        self._outputs.clear()
        self._given.clear()
        self._before = None
        self.handed = ()
        self.weights.forget()

    def _use(
        self,
        found: Application,
        function: Function,
        args: tuple[object, ...],
        kwargs: dict[str, object],
    ) -> object:
        """Carry out a call that is followed, and wait for the gradient of its output."""
        import torch

        self._order(found.owner)
        found.owner.width = found.width
        plain = found.weight.detach()
        if found.writes:
            plain = plain.clone()

        named = {name: _with(a, found.weight, plain) for name, a in kwargs.items()}
        out = function(*(_with(a, found.weight, plain) for a in args), **named)
        assert isinstance(out, torch.Tensor)
        if not out.requires_grad:  # the first layer; a copy, as a leaf may not be changed in place
            out = out.requires_grad_().clone()
        inputs, kept = found.inputs.detach(), len(self._uses) in self._keep
        inputs = inputs.clone() if kept else inputs
        use = _Use(found, inputs, inputs._version, kept)
        self._uses.append(use)
        if found.kind == "linear":
            self._outputs[id(out)] = (out, found.owner)
        out.register_hook(  # type: ignore[no-untyped-call]
            lambda gradient: self._arrived(use, gradient)
        )
        return out

    def _arrived(self, use: _Use, gradient: torch.Tensor) -> None:
        of = use.of
        where = f"{of.owner.names[0]}, {self.batch}"
        if self._before is not None and use in self._uses[: self._before]:
            self.crossed = True
        for block, vectors, slopes in of.pieces(use.inputs, gradient.detach(), use.first):
            layer = self._layer(of, block)
            layer.biases.add(id(of.bias) if of.bias is not None else 0)
            if use.first and vectors is not None and _plain(of, block):
                layer.gradients.add(slopes, f"{where}: the gradient")
                key = (vectors.data_ptr(), tuple(vectors.shape), vectors.stride())
                given = GivenInputs(layer, vectors, live_positions(slopes), where)
                self._given.setdefault(key, []).append(given)
            else:
                layer.add(vectors, slopes, first=use.first, routed=of.routed, where=where)
        use.first = False

    def _layer(self, of: Application, block: Block) -> Layer:
        key = (of.kind, of.swapped, of.groups, *block.key)
        layer = of.owner.layers.get(key)
        if layer is None:
            shape = block.shape(of.owner.height, of.width)
            layer = of.owner.layers[key] = Layer.of(
                of.kind, of.swapped, block, shape, self.room, self.widest, of.groups
            )
        return layer

    def _add_inputs(self, given: list[GivenInputs]) -> None:
        """Add the same inputs to several layers, once for those of the same live positions."""
        import torch

        while given:
            first, *rest = given
            alike = [one for one in rest if torch.equal(one.live, first.live)]
            layers = [first.layer, *(one.layer for one in alike)]
            if len({id(one) for one in layers}) == len(layers) > 1:
                self._shared_inputs(layers).add(first.vectors[first.live], first.where)
            else:
                for one in (first, *alike):
                    one.layer.add_inputs(one.vectors, one.live, one.where)
            given = [one for one in rest if one not in alike]

    def _shared_inputs(self, layers: list[Layer]) -> SharedInputs:
        key = tuple(sorted(map(id, layers)))
        if key not in self._shared:
            width = layers[0].width
            inputs = SharedInputs(Gram(width, self.room, full=width <= self.widest))
            self._shared[key] = layers, inputs
            for layer in layers:
                layer.share(inputs)
        return self._shared[key][1]

    def _order(self, *owners: Tracked) -> None:
        for owner in owners:
            stage = self._part * _STAGES + self._met
            if owner.stage is None or stage // _STAGES < owner.stage // _STAGES:
                owner.stage = stage
                self._met += 1


def _plain(of: Application, block: Block) -> bool:
    """Whether a use is one linear map, by the whole of a weight."""
    whole = block.rows is None and block.columns is None
    return of.kind == "linear" and whole and not of.routed


def _with(value: object, weight: torch.Tensor, plain: torch.Tensor) -> object:
    """An argument, or a list of them (operands of einsum), with `plain` where `weight` was."""
    if isinstance(value, (list, tuple)) and any(one is weight for one in value):
        return [_with(one, weight, plain) for one in value]
    return plain if value is weight else value
