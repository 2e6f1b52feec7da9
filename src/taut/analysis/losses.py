"""Directions of the output whose gradients have the loss's curvature as their second moment.

With J the Jacobian of the output z by a layer's output, the Gauss-Newton matrix is J^T L J, L the
Hessian of the loss by z; J^T v has it as second moment for any v with E[v v^T] = L (Martens 2014).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, TypeAlias

from taut.analysis._capture import Capture
from taut.errors import ArgumentError
from taut.networks.calls import explained
from taut.networks.chosen_outputs import only
from taut.networks.other_outputs import OutputCost, computed, kept_outputs
from taut.networks.output_kind import role_of, values_of
from taut.networks.output_vectors import Kind, logs_of, vectors_of
from taut.networks.outputs import KeptOutput, Loss, is_float, token_mask

if TYPE_CHECKING:
    import torch

# An output, and the direction v; None of a scalar.
Differentiable: TypeAlias = "tuple[torch.Tensor, torch.Tensor | None]"

_SLICE: Final = 1 << 21  # values of logits that are worked on at once


@dataclass(frozen=True)
class Differentiated:
    """What is differentiated: the caller's loss, or all outputs in some random directions.

    `output` is one of OUTPUTS for the main output, or what every output that counts holds, by its
    place. `shares` are what those that count do, the main one's first; none where all count alike.
    `costs` are what it costs to lose each output so far, by its place; `told` is what "auto" found,
    of the first batch, with `vocabularies` of the network.
    """

    loss: Loss | None
    output: str | Mapping[str, Kind]
    passes: int
    generator: torch.Generator
    vocabularies: frozenset[int] = frozenset()
    shares: Mapping[str, float] = field(default_factory=dict)
    costs: dict[str, OutputCost] = field(default_factory=dict)
    told: dict[str, Kind] = field(default_factory=dict)

    def outputs(self, given: object, batch: object, capture: Capture) -> Iterable[Differentiable]:
        """One for each backward pass, of what the model gave."""
        if self.loss is not None:
            return [(user_loss(self.loss, given, batch, self.generator, capture.batch), None)]
        asked = self.output if isinstance(self.output, str) else "auto"
        given = only(given, self.shares) if self.shares else given
        kept = computed(kept_outputs(given, asked, capture.maker, capture.handed))
        main, *others = [self._as_told(one, batch, first=not n) for n, one in enumerate(kept)]
        check(main, others, capture.batch, capture.broken)
        found = [probes(main, batch, self.generator, self.passes)]
        for one, weight in self._weighed(main, others, batch):
            found.append(probes(one, batch, self.generator, self.passes, weight))
        return found[0] if len(found) == 1 else map(_together, zip(*found, strict=True))

    def _as_told(self, kept: KeptOutput, batch: object, *, first: bool) -> KeptOutput:
        """An output as what it holds: of probabilities their logarithms, which are logits."""
        if isinstance(self.output, str):
            said = self.output if first else "auto"
            if kept.place not in self.told:
                values = values_of(kept.tensor, batch, last=kept.last)
                self.told[kept.place] = role_of(kept, values, self.vocabularies, said).kind
            kind = self.told[kept.place]
        else:
            kind = self.output.get(kept.place, "logits" if kept.logits else "features")
        if kind == "probabilities":
            return replace(kept, tensor=logs_of(kept.tensor), logits=True, last=False)
        return replace(kept, logits=kind != "features", last=kept.last and kind != "features")

    def _weighed(
        self, main: KeptOutput, others: list[KeptOutput], batch: object
    ) -> Iterator[tuple[KeptOutput, float]]:
        """The other outputs with factors of their curvature, by which to lose any costs its share.

        The costs are those of all batches so far: a batch in which an output hardly varies would
        else outweigh all others.
        """
        for one in (main, *others) if others else ():
            kind = _kind_of(one)
            cost = self.costs.setdefault(one.place, OutputCost(kind))
            cost.add(vectors_of(one.tensor.detach(), batch, kind))
        for one in others:
            own, its = self.costs[one.place].total, self.costs[main.place].total
            share = self.shares.get(one.place, 1.0) / self.shares.get(main.place, 1.0)
            if own > 0:
                yield one, share * (its / own if its > 0 else 1.0)


def _kind_of(kept: KeptOutput) -> Kind:
    """What an output holds whose probabilities are logarithms by now."""
    if not kept.logits:
        return "features"
    return "last" if kept.last else "logits"


def check(
    target: KeptOutput, others: Iterable[KeptOutput], where: str, broken: Callable[[], str]
) -> None:
    """Refuse a main output without a gradient, and any with NaN; `broken` says where these came
    from. Minus infinity forbids a class.
    """
    import torch

    if not target.tensor.requires_grad:
        raise ArgumentError(
            f"{where}: the model's output has no gradient: no matrix that is rounded leads to it; "
            "its forward must return what they compute, and must not run under torch.no_grad() or "
            "detach what it gives"
        )
    for one in (target, *others):
        sound = torch.isfinite(one.tensor)
        if one.logits or one is not target:
            sound |= one.tensor == -torch.inf
        if not sound.all():
            place = f" {one.place}" if one.place else ""
            raise ArgumentError(
                f"{where}: the model's output{place} has NaN or infinite values{broken()}"
            )


def probes(
    target: KeptOutput,
    batch: object,
    generator: torch.Generator,
    passes: int,
    weight: float = 1.0,
) -> Iterator[Differentiable]:
    """A random direction v of the output for each pass; `weight` is a factor of its second moment.

    Features: L = I, so v is standard normal. Logits: L = diag(p) - p p^T at each position, p their
    softmax: the Fisher of labels drawn from the model's own predictions. With s = sqrt(p) and r
    standard normal, v = s r - p (s . r) has it too, with less noise than drawn labels.
    """
    import torch

    z = target.tensor
    mask = token_mask(batch, z)
    finite = z.detach().isfinite()
    if not finite.all():  # as in scores that a mask forbids
        z = z.masked_fill(~finite, -1e4 if target.logits else 0.0)
    for _ in range(passes):
        v = torch.randn(z.shape, generator=generator, dtype=torch.float32).to(z.device, z.dtype)
        if target.logits:
            _as_labels(v, z.detach(), target.axis)
        v = v if mask is None else v.mul_(mask)
        yield z, (v if weight == 1 else v.mul_(weight**0.5))


def _together(found: Iterable[tuple[torch.Tensor, torch.Tensor | None]]) -> Differentiable:
    """One scalar whose gradients are those of several outputs in their directions."""
    import torch

    return torch.stack([(z * v).sum() for z, v in found if v is not None]).sum(), None


def _as_labels(v: torch.Tensor, z: torch.Tensor, axis: int) -> None:
    """Make normal values those of labels drawn from softmax(z); in place, and in slices.

    With many classes each copy of a batch's logits is large.
    """
    whole = z.numel() <= _SLICE or axis != -1 or z.ndim < 2
    flat, values = (z, v) if whole else (z.flatten(0, -2), v.flatten(0, -2))
    many = max(1, _SLICE // z.shape[axis]) if not whole else len(flat)
    for begin in range(0, len(flat), many):
        part = values[begin : begin + many]
        p = flat[begin : begin + many]
        if z.shape[axis] == 1:  # of one class beside one whose logit is 0
            part.mul_((p.sigmoid() * (-p).sigmoid()).sqrt())
            continue
        p = p.softmax(axis)
        part.mul_(p.sqrt())
        part.sub_(p.mul_(part.sum(axis, keepdim=True)))


def user_loss(
    loss: Loss, output: object, batch: object, generator: torch.Generator, where: str
) -> torch.Tensor:
    """The caller's loss of a batch, summed.

    One value for each sample gets a random sign, which changes no second moment and keeps samples
    apart where gradients are summed over a batch; a scalar cannot be told apart.

    Raises:
        ArgumentError: it raised, or gave something without a gradient, or NaN.
    """
    import torch

    with explained(f"{where}: loss raised", batch):
        value = loss(output, batch)
    if not is_float(value) or not value.requires_grad:
        raise ArgumentError(f"{where}: loss must give a tensor that depends on the output")
    if not torch.isfinite(value).all():
        raise ArgumentError(f"{where}: the loss is NaN or infinite")
    if value.ndim == 0:
        return value
    signs = torch.randint(0, 2, (len(value),), generator=generator) * 2.0 - 1
    signs = signs.to(value.device, value.dtype)
    return (value.reshape(len(value), -1).sum(1) * signs).sum()
