"""Follows two models layer by layer: what each layer gives, and what the new one alone adds.

In the original's pass each layer's output is kept, and the new model's layer of that name is run on
the very same inputs: its own error. In the new model's pass its outputs meet the kept ones: the
error with all that came before. Kept are the outputs of one batch.

Surprise: a module counts as a layer if it holds a weight of two axes or more and no other layer
within; vectors alone (norms) are no layer. `nn.MultiheadAttention` is one layer, since its parts
are never run by themselves. Where the new model has an identity for the batch norm behind a layer,
which it folded into it, the layer's output is taken behind the norm: before it the scales differ.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from taut.errors import ArgumentError, TautError
from taut.evaluation._near import Near, vectors
from taut.networks.norm_pairs import NormPair, find_norms
from taut.networks.outputs import find_target
from taut.scoring.results import LayerFidelity

if TYPE_CHECKING:
    import torch

    Arguments: TypeAlias = tuple[object, ...]
    Named: TypeAlias = dict[str, object]
    Hook: TypeAlias = Callable[[torch.nn.Module, Arguments, Named, object], None]


Given = TypeVar("Given")


@dataclass
class Pair:
    """A layer of the original and the new model's of the same name."""

    old: torch.nn.Module
    new: torch.nn.Module
    own: Near = field(default_factory=Near)
    after: Near = field(default_factory=Near)  # with what came from the layers before
    kept: list[torch.Tensor] = field(default_factory=list)  # outputs that the new one's will meet
    norms: tuple[torch.nn.Module, torch.nn.Module] | None = None  # behind it, if folded
    apart: bool = False  # the new model called its layer otherwise: outputs do not correspond


class Follow:
    """The pairs that are followed, and why the other layers are not."""

    def __init__(self, old: torch.nn.Module, new: torch.nn.Module) -> None:
        self.left_out: dict[str, str] = {}
        self._pairs = dict(self._paired(old, dict(new.named_modules(remove_duplicate=False))))
        self._ran: dict[str, Pair] = {}
        self._batch: object = None
        self._inside = False
        self._old, self._new = old, new
        self._looked = False

    @contextmanager
    def original(self, batch: object) -> Iterator[None]:
        """Within it the original runs on `batch`."""
        self._batch = batch
        if not self._looked:
            self._looked = True
            for name, norms in folded_norms(self._old, self._new, batch):
                if name in self._pairs:
                    self._pairs[name].norms = norms
        with _hooked((p.old, self._seen(n, p)) for n, p in self._pairs.items()):
            yield

    @contextmanager
    def new(self) -> Iterator[None]:
        """Within it the new model runs on the same batch."""
        with _hooked((p.new, self._met(p)) for p in self._ran.values()):
            yield
        for pair in self._ran.values():
            pair.apart |= bool(pair.kept)
            pair.kept.clear()

    def layers(self) -> tuple[LayerFidelity, ...]:
        """What was found, in the order in which the layers ran."""
        for name in self._pairs:
            if name not in self._ran:
                self.left_out.setdefault(name, "never ran")
        return tuple(
            LayerFidelity(
                name,
                type(pair.old).__name__,
                math.nan if pair.apart else pair.after.cosine,
                math.nan if pair.apart else pair.after.rel_mse,
                pair.own.rel_mse,
            )
            for name, pair in self._ran.items()
            if name not in self.left_out
        )

    def _paired(
        self, old: torch.nn.Module, new: dict[str, torch.nn.Module]
    ) -> Iterator[tuple[str, Pair]]:
        for name, layer in _layers(old, self.left_out):
            if name not in new:
                self.left_out[name] = "the new model has no layer of this name"
            elif (shapes := _shapes(layer, new[name])) is not None:
                self.left_out[name] = shapes
            else:
                yield name, Pair(layer, new[name])

    def _seen(self, name: str, pair: Pair) -> Hook:
        def hook(_: object, args: Arguments, kwargs: Named, output: object) -> None:
            if self._inside or name in self.left_out:
                return
            z = _tensor(output)
            if z is None:
                self.left_out[name] = "its output holds no tensor of floats"
                return
            self._inside = True  # a layer may be in both models
            try:
                own = _tensor(pair.new(*_as(args, pair.new), **_as(kwargs, pair.new)))
            except TautError:  # it is damaged
                raise
            except Exception as error:  # a layer may raise anything
                said = f"{type(error).__name__}: {error}"
                self.left_out[name] = f"the new model's layer rejects the original's inputs: {said}"
                return
            finally:
                self._inside = False
            if own is None or own.shape != z.shape:
                self.left_out[name] = "the new model's layer gives an output of another shape"
                return
            z, own = _behind(z, pair, 0), _behind(own, pair, 1)
            pair.own.add(self._rows(z, pair), self._rows(own, pair))
            pair.kept.append(z.clone())  # it may be changed in place
            self._ran.setdefault(name, pair)

        return hook

    def _met(self, pair: Pair) -> Hook:
        def hook(_: object, args: Arguments, kwargs: Named, output: object) -> None:
            new = _tensor(output)
            if pair.apart or not pair.kept or new is None or pair.kept[0].shape != new.shape:
                pair.apart = True
                return
            old = pair.kept.pop(0)
            pair.after.add(self._rows(old, pair), self._rows(_behind(new, pair, 1), pair))

        return hook

    def _rows(self, z: torch.Tensor, pair: Pair) -> torch.Tensor:
        from torch.nn.modules.conv import _ConvNd

        return vectors(z, self._batch, whole=isinstance(pair.old, _ConvNd))


def folded_norms(
    old: torch.nn.Module, new: torch.nn.Module, batch: object
) -> Iterator[tuple[str, tuple[torch.nn.Module, torch.nn.Module]]]:
    """The layers of `old` whose batch norms are identities in `new`, with both norms."""
    before, after = _variances(old), _variances(new)
    told = {n for n in before.keys() & after.keys() if _is_one(after[n]) and not _is_one(before[n])}
    for pair in _norms(old, batch) if told else ():
        if pair.weight is not None and pair.vectors[3] in told:
            name = pair.vectors[3].rpartition(".")[0]
            norms = old.get_submodule(name), new.get_submodule(name)
            yield pair.weight.rpartition(".")[0], norms


def _norms(old: torch.nn.Module, batch: object) -> list[NormPair]:
    try:
        return find_norms(old, batch)
    except ArgumentError:  # told where the original is run itself
        return []


def _variances(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    buffers = module.named_buffers()
    return {name: one for name, one in buffers if name.rpartition(".")[2] == "running_var"}


def _is_one(values: torch.Tensor) -> bool:
    return bool((values == 1).all())


def _behind(z: torch.Tensor, pair: Pair, which: int) -> torch.Tensor:
    """A layer's output as it leaves the norm behind it, if that was folded into the layer."""
    if pair.norms is None:
        return z
    found: torch.Tensor = pair.norms[which](z)
    return found.detach()


def _layers(
    model: torch.nn.Module, left_out: dict[str, str]
) -> Iterator[tuple[str, torch.nn.Module]]:
    """Modules that hold weights of two axes or more and no such module within."""
    import torch

    found = dict(_holding(model))
    whole = [n for n, part in found.items() if isinstance(part, torch.nn.MultiheadAttention)]
    for name, part in found.items():
        if name.startswith(tuple(f"{outer}." for outer in whole)):
            continue
        if name in whole or not any(_lies_in(other, name) for other in found):
            yield name, part
        else:
            left_out[name] = "it holds other layers"


def _holding(model: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Module]]:
    return ((name, part) for name, part in model.named_modules() if _holds(name, part))


def _lies_in(name: str, outer: str) -> bool:
    """Whether a module is a part of another, by their names; the model itself has none."""
    return name != outer and (not outer or name.startswith(f"{outer}."))


def _holds(name: str, part: torch.nn.Module) -> bool:
    from torch.nn.utils.parametrize import is_parametrized

    if "parametrizations" in name.split("."):  # these belong to the layer whose weight they make
        return False
    weights = list(part.parameters(recurse=False))
    if is_parametrized(part):
        weights += part.parametrizations.parameters()  # type: ignore[union-attr]
    return any(weight.ndim >= 2 and weight.is_floating_point() for weight in weights)


def _shapes(old: torch.nn.Module, new: torch.nn.Module) -> str | None:
    """How the shapes of two layers' weights differ; None where they do not."""
    theirs = dict(new.named_parameters(recurse=False))
    for name, weight in old.named_parameters(recurse=False):
        if name in theirs and theirs[name].shape != weight.shape:
            return f"{name} is {list(weight.shape)}, in the new model {list(theirs[name].shape)}"
    return None


def _tensor(output: object) -> torch.Tensor | None:
    """The first tensor of floats in a layer's output."""
    try:
        return find_target(output, "features", lambda _: None).tensor.detach()
    except ArgumentError:
        return None


def _as(given: Given, layer: torch.nn.Module) -> Given:
    """Inputs with the float type and the device of the layer's weights."""
    import torch
    from torch.utils._pytree import tree_map_only

    like = next((p for p in layer.parameters() if p.is_floating_point()), None)
    if like is None:
        return given

    def fit(value: torch.Tensor) -> torch.Tensor:
        return value.to(like.device, like.dtype if value.is_floating_point() else None)

    fitted: Given = tree_map_only(torch.Tensor, fit, given)
    return fitted


@contextmanager
def _hooked(hooks: Iterable[tuple[torch.nn.Module, Hook]]) -> Iterator[None]:
    handles = [layer.register_forward_hook(hook, with_kwargs=True) for layer, hook in hooks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
