"""Follows a model's run: each use of a tracked weight, its inputs, the gradient that comes back.

Surprise: the weight is handed to its function detached, so that backward passes spend nothing on
gradients of weights; a weight that has a gradient all the same was used in some way that is not
recognised (einsum, LSTM), and is summed as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from types import FunctionType
from typing import TYPE_CHECKING

from taut.analysis._gram import Room
from taut.analysis._layer_calls import Function, LayerCall, recognise, repeats, transposes
from taut.analysis._terms import Layer, Whole

if TYPE_CHECKING:
    import torch

Watch = Callable[[Function, tuple[object, ...], dict[str, object]], object]


@dataclass
class Tracked:
    """A weight matrix, the names it goes by, and what was seen of it."""

    names: tuple[str, ...]
    weight: torch.Tensor
    stage: int | None = None
    layers: dict[tuple[str, bool, int], Layer] = field(default_factory=dict)
    whole: Whole | None = None
    idle: bool = False  # no use of it was met
    changed: bool = False  # an input was changed in place after its use, and could not be kept


@dataclass
class _Use:
    """One use in a forward pass; `inputs` shares memory with the model's unless `kept`."""

    owner: Tracked
    call: LayerCall
    inputs: torch.Tensor
    version: int
    kept: bool
    first: bool = True


@dataclass(frozen=True)
class _View:
    """A weight transposed, or once more; the tensor is held so that no other gets its id."""

    tensor: torch.Tensor
    owner: Tracked
    turned: bool


class Capture:
    """The uses of tracked weights; `batch` names the batch for errors."""

    def __init__(self, tracked: Iterable[Tracked], room: Room, widest: int) -> None:
        self.tracked = {id(one.weight): one for one in tracked}
        self.room, self.widest = room, widest
        self.batch = ""
        self._uses: list[_Use] = []
        self._outputs: dict[int, tuple[torch.Tensor, Tracked]] = {}
        self._views: dict[int, _View] = {}
        self._keep: set[int] = set()  # numbers of the uses whose inputs must be copied
        self._stages = 0

    def watch(
        self, function: Function, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> object:
        """Carry out a call of torch, and remember it if it uses a tracked weight."""
        import torch

        owners = self._owners(_tensors(args, kwargs))
        if not owners or not torch.is_grad_enabled():
            return function(*args, **kwargs)
        call = recognise(function, args, kwargs)
        if call is not None and self._follows(call):
            return self._use(call, function, args, kwargs)
        result = function(*args, **kwargs)
        if isinstance(result, torch.Tensor) and transposes(function, args):
            turned = not self._turned(args[0])
            self._views[id(result)] = _View(result, owners[0], turned)
        elif isinstance(result, torch.Tensor) and repeats(function):
            self._views[id(result)] = _View(result, owners[0], self._turned(args[0]))
        elif any(part.requires_grad for part in _tensors((result,), {})):
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
                return f" (first in the input of {use.owner.names[0]})"
        return ""

    def again(self) -> bool:
        """Whether the forward pass must be run again, to copy inputs that it changed in place."""
        changed = {
            number
            for number, use in enumerate(self._uses)
            if not use.kept and use.inputs._version != use.version
        }
        for number in changed & self._keep:  # the run differs from the one before
            self._uses[number].owner.changed = True
        again = bool(changed - self._keep)
        self._keep |= changed
        return again

    def gradients(self) -> None:
        """Take the gradients that a backward pass left on the weights themselves."""
        for one in self.tracked.values():
            if one.weight.grad is not None:
                if one.whole is None:
                    one.whole = Whole.of(one.weight, self.room, self.widest)
                gradient = one.weight.grad
                gradient = gradient.to_dense() if gradient.is_sparse else gradient
                one.whole.add(gradient, f"{one.names[0]}, {self.batch}")
                one.weight.grad = None
                self._order(one)

    def forget(self) -> None:
        """Drop the run, before the next."""
        self._uses.clear()
        self._outputs.clear()
        self._views.clear()

    def _follows(self, call: LayerCall) -> bool:
        """Whether the weight is tracked, and lies as its moments are summed or is a matrix."""
        if self._owner(call.weight) is None:
            return False
        return call.kind == "linear" or not self._turned(call.weight)

    def _use(
        self,
        call: LayerCall,
        function: Function,
        args: tuple[object, ...],
        kwargs: dict[str, object],
    ) -> object:
        """Carry out a call that is followed, and wait for the gradient of its output."""
        import torch

        owner, turned = self._owner(call.weight), self._turned(call.weight)
        assert owner is not None
        self._order(owner)
        plain = call.weight.detach()
        if call.writes:
            plain = plain.clone()
        given: Callable[[object], object] = lambda a: plain if a is call.weight else a  # noqa: E731
        out = function(*map(given, args), **{name: given(a) for name, a in kwargs.items()})
        assert isinstance(out, torch.Tensor)
        if not out.requires_grad:  # the first layer; a copy, as a leaf may not be changed in place
            out = out.requires_grad_().clone()
        inputs, kept = call.inputs.detach(), len(self._uses) in self._keep
        inputs = inputs.clone() if kept else inputs
        call = replace(call, weight=owner.weight, swapped=call.swapped != turned)
        use = _Use(owner, call, inputs, inputs._version, kept)
        self._uses.append(use)
        if call.kind == "linear":
            self._outputs[id(out)] = (out, owner)
        out.register_hook(  # type: ignore[no-untyped-call]
            lambda gradient: self._arrived(use, gradient)
        )
        return out

    def _arrived(self, use: _Use, gradient: torch.Tensor) -> None:
        owner, call = use.owner, use.call
        groups = call.geometry.groups if call.geometry else 1
        key = (call.kind, call.swapped, groups)
        layer = owner.layers.get(key)
        if layer is None:
            layer = owner.layers[key] = Layer.of(call, self.room, self.widest)
        layer.biases.add(id(call.bias) if call.bias is not None else 0)
        where = f"{owner.names[0]}, {self.batch}"
        layer.add(call, use.inputs, gradient.detach(), first=use.first, where=where)
        use.first = False

    def _owners(self, tensors: Iterable[torch.Tensor]) -> list[Tracked]:
        return [one for one in map(self._owner, tensors) if one is not None]

    def _owner(self, tensor: torch.Tensor) -> Tracked | None:
        found = self.tracked.get(id(tensor))
        view = self._views.get(id(tensor)) if found is None else None
        return view.owner if view is not None else found

    def _turned(self, tensor: object) -> bool:
        view = self._views.get(id(tensor))
        return view is not None and view.turned

    def _order(self, *owners: Tracked) -> None:
        for owner in owners:
            if owner.stage is None:
                owner.stage = self._stages
                self._stages += 1


def watching(watch: Watch) -> AbstractContextManager[object]:
    """Within it, every call of torch's Python interface goes through `watch`; gradients stay on."""
    import torch
    from torch.nn import functional
    from torch.overrides import TorchFunctionMode

    attention = _opened(functional.multi_head_attention_forward)

    class Mode(TorchFunctionMode):
        def __torch_function__(  # type: ignore[no-untyped-def]
            self, func: Function, types, args: tuple[object, ...] = (), kwargs=None
        ) -> object:
            if func is functional.multi_head_attention_forward:
                with self:  # so that its projections are watched
                    return attention(*args, **(kwargs or {}))
            if func is torch._C._set_grad_enabled and args == (False,):
                return None  # what a model computes under no_grad counts as all else does
            return watch(func, args, kwargs or {})

    return Mode()


def _opened(function: Function) -> Function:
    """Torch's function, with the question answered whether to hand over to who watches: no.

    It is asked before anything is computed, and would hand itself over for ever. A new function of
    the same code; torch's own is left as it is.
    """
    assert isinstance(function, FunctionType)
    names = {**function.__globals__, "has_torch_function": lambda _: False}
    opened = FunctionType(function.__code__, names, function.__name__, function.__defaults__)
    opened.__kwdefaults__ = function.__kwdefaults__
    return opened


def _tensors(args: Sequence[object], kwargs: Mapping[str, object]) -> list[torch.Tensor]:
    """Tensors among the arguments, and in lists of them."""
    import torch

    found = []
    for value in (*args, *kwargs.values()):
        for part in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(part, torch.Tensor):
                found.append(part)
    return found
