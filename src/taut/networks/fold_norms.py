"""Batch norms folded into the weights before them, in a network whose class stays as it is.

In evaluation a norm is a scale s = weight / sqrt(variance + eps) and a shift for each channel. The
scale goes into the rows of the weight before it, so that errors of its rounding count for what they
do behind the norm, and the norm becomes an identity: weight and variance 1, mean 0, each of which
costs nothing in a file. What is left of it is its bias, which takes the shift. Since the norm still
divides by sqrt(1 + eps), the weight takes that factor too.

Jacob et al., 2018 (arXiv:1712.05877), 3.2; the class that computes the norm is kept here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from taut.errors import ArgumentError
from taut.networks.calls import evaluating, run
from taut.networks.cuts import first_sample
from taut.networks.norm_pairs import NormPair, find_norms
from taut.networks.outputs import float_parts

if TYPE_CHECKING:
    import torch

_CLOSE: Final = 1e-3  # of the largest output: sums in another order differ by far less
_AT_ONCE: Final = 8  # inputs whose outputs are held to be compared
_WHERE: Final = "calibration batch"
_STAY: Final = "batch norms stay as they are: folded, outputs would be others"


@dataclass(frozen=True)
class FoldedNorms:
    """What folding changed: new `values` by the names of parameters and buffers.

    `biases` are the parameters that now take up what an error of a weight does to its mean output,
    by the weight; `idle` are those that became constants, of which nothing is to be tuned. `note`
    says what was done, "" if nothing.
    """

    values: Mapping[str, torch.Tensor] = field(default_factory=dict)
    biases: Mapping[str, str] = field(default_factory=dict)
    idle: frozenset[str] = frozenset()
    note: str = ""


NOTHING_FOLDED: Final = FoldedNorms()


def fold_norms_(
    module: torch.nn.Module,
    batches: Iterable[object],
    free: Callable[[str], bool] = lambda name: True,
    *,
    grouped: bool = False,
) -> FoldedNorms:
    """Fold the batch norms of a float32 module in place; it computes what it did.

    `free` says of a parameter or buffer whether it may be changed. What is folded is found by runs
    on the first batch and on a sample of each: a weight has to lead to its norm alone in all of
    them, and outputs have to stay the same; else all stays as it was. Norms behind something else
    than a weight of their own (`find_norms`), or as wide as one that no run reached, are left with
    a scale and a shift, and their statistics become constants; with `grouped` so are all, unless a
    convolution in groups is among the weights.

    Raises:
        ArgumentError: the module rejects a batch.

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4)).eval()
    >>> _ = net[1].running_var.fill_(4.0)
    >>> found = fold_norms_(net, [torch.ones(1, 3, 8, 8)])
    >>> net[1].running_var.tolist(), found.biases, sorted(found.idle)
    ([1.0, 1.0, 1.0, 1.0], {'0.weight': '1.bias'}, ['0.bias', '1.weight'])
    """
    given, held = iter(batches), _held(module)
    first = next(given)
    one = _one(module, first)
    found = find_norms(module, one)
    if not found:
        return NOTHING_FOLDED
    inputs = [one, first, *(_one(module, batch) for batch in given)]
    pairs = [*_free(_agreed(module, found, inputs[1:]), held, free)]
    if grouped and all(one.groups == 1 for one in pairs):
        pairs = [*map(_alone, pairs)]
    for chosen in (pairs, [*map(_alone, pairs)]):
        values = {name: value for one in chosen for name, value in _folded(held, one).items()}
        if not values:
            return NOTHING_FOLDED
        if _try(module, inputs, held, values):
            return _found(chosen, values)
    return FoldedNorms(note=_STAY)


def _agreed(
    module: torch.nn.Module, found: Sequence[NormPair], inputs: Iterable[object]
) -> list[NormPair]:
    """The pairs of a run, each without its weight where another run has it elsewhere.

    A weight may lead to one norm for some inputs and to another, of as many channels, for others,
    which perhaps none of these inputs is.
    """
    others = {pair for one in inputs for pair in find_norms(module, one)}
    every = {*found, *others}
    reached = {pair.vectors[2] for pair in every}
    widths = {
        len(part.running_mean)
        for name, part in module.named_modules()
        if getattr(part, "running_mean", None) is not None
        and getattr(part, "weight", None) is not None
        and f"{name}.running_mean".removeprefix(".") not in reached
    }
    held = _held(module)

    def shared(pair: NormPair) -> bool:
        return any(
            one != pair and (one.vectors == pair.vectors or one.weight == pair.weight)
            for one in every
        )

    return [
        _alone(pair)
        if pair.weight is not None and (shared(pair) or len(held[pair.vectors[2]]) in widths)
        else pair
        for pair in found
    ]


def _alone(pair: NormPair) -> NormPair:
    """The norm without the weight before it."""
    return NormPair(pair.vectors, pair.eps)


def _found(pairs: Sequence[NormPair], values: Mapping[str, torch.Tensor]) -> FoldedNorms:
    whole = [one for one in pairs if one.weight is not None]
    idle = {one.vectors[0] for one in whole} | {one.bias for one in whole if one.bias is not None}
    biases = {one.weight: one.vectors[1] for one in whole if one.weight is not None}
    return FoldedNorms(values, biases, frozenset(idle), _told(len(whole), len(pairs)))


def _told(whole: int, every: int) -> str:
    """`20 batch norms folded into the weights before them (...); of 1 more ...`."""
    parts = []
    if whole:
        norms = "batch norm" if whole == 1 else "batch norms"
        parts.append(
            f"{whole} {norms} folded into the weights before them: the file has identities in "
            "their place, for evaluation (--no-fold leaves them)"
        )
    if left := every - whole:
        norms = "batch norm" if left == 1 else "batch norms"
        parts.append(f"the statistics of {left} {norms} went into scale and shift")
    return "; ".join(parts)


def _one(module: torch.nn.Module, batch: object) -> object:
    """The first sample of a batch, or the batch where the module does not take that."""
    with suppress(ArgumentError):
        some = first_sample(batch)
        _outputs(module, some)
        return some
    return batch


def _free(
    pairs: Iterable[NormPair], held: Mapping[str, torch.Tensor], free: Callable[[str], bool]
) -> Iterator[NormPair]:
    """Those that may be changed; without the weight before it where that may not."""
    for pair in pairs:
        before = [one for one in (pair.weight, pair.bias) if one is not None]
        one = pair if all(map(free, before)) else _alone(pair)
        if all(map(free, pair.vectors)) and _is_plain(held, one):
            yield one


def _held(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {
        **dict(module.named_parameters(remove_duplicate=False)),
        **dict(module.named_buffers(remove_duplicate=False)),
    }


def _is_plain(held: Mapping[str, torch.Tensor], pair: NormPair) -> bool:
    """Whether all that folding would change is finite float32 or wider."""
    import torch

    names = [*pair.vectors, *(one for one in (pair.weight, pair.bias) if one is not None)]
    wide = (torch.float32, torch.float64)
    return all(held[n].dtype in wide and bool(held[n].isfinite().all()) for n in names)


def _folded(held: Mapping[str, torch.Tensor], pair: NormPair) -> dict[str, torch.Tensor]:
    """All that is other for one norm, by name."""
    import torch

    scale, shift, mean, variance = (held[name].detach().double() for name in pair.vectors)
    scale = scale / (variance + pair.eps).sqrt()
    again = (1 + pair.eps) ** 0.5
    own = held[pair.bias].detach().double() if pair.bias is not None else 0.0
    new = {
        pair.vectors[1]: shift + (own - mean if pair.weight is not None else -mean) * scale,
        pair.vectors[2]: torch.zeros_like(mean),
        pair.vectors[3]: torch.ones_like(variance),
    }
    if pair.weight is None:
        new[pair.vectors[0]] = scale * again
    else:
        new[pair.vectors[0]] = torch.ones_like(scale)
        new[pair.weight] = _scaled(held[pair.weight].detach().double(), scale * again, pair)
    if pair.bias is not None:
        new[pair.bias] = torch.zeros_like(mean)
    return {name: value.to(held[name].dtype) for name, value in new.items()}


def _scaled(weight: torch.Tensor, factor: torch.Tensor, pair: NormPair) -> torch.Tensor:
    """A weight whose outputs are multiplied, each by its own factor."""
    if pair.outputs == 0:
        return weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
    each = factor.reshape(pair.groups, 1, -1)  # of (inputs, outputs / groups, ...), in runs
    runs = weight.reshape(pair.groups, weight.shape[0] // pair.groups, weight.shape[1], -1)
    return (runs * each[..., None]).reshape(weight.shape)


def _try(
    module: torch.nn.Module,
    inputs: Sequence[object],
    held: Mapping[str, torch.Tensor],
    values: Mapping[str, torch.Tensor],
) -> bool:
    """Put values into the module; where its outputs change, take them out again."""
    before = {name: held[name].detach().clone() for name in values}
    for at in range(0, len(inputs), _AT_ONCE):
        some = inputs[at : at + _AT_ONCE]
        _put(held, before)
        outputs = [_outputs(module, one) for one in some]
        _put(held, values)
        pairs = zip(outputs, some, strict=True)
        if not all(_same(known, _outputs(module, one)) for known, one in pairs):
            _put(held, before)
            return False
    return True


def _put(held: Mapping[str, torch.Tensor], values: Mapping[str, torch.Tensor]) -> None:
    import torch

    with torch.no_grad():
        for name, value in values.items():
            held[name].copy_(value)


def _outputs(module: torch.nn.Module, batch: object) -> list[torch.Tensor]:
    import torch

    with torch.random.fork_rng(devices=[]), torch.no_grad(), evaluating(module):
        torch.manual_seed(0)
        return [one.clone() for one in float_parts(run(module, batch, _WHERE)).values()]


def _same(before: Sequence[torch.Tensor], after: Iterable[torch.Tensor]) -> bool:
    """Whether outputs are the same but for sums in another order; none say nothing."""
    pairs = [*zip(before, after, strict=False)]
    return bool(pairs) and all(_near(one, other) for one, other in pairs)


def _near(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.shape != other.shape or not one.numel():
        return one.shape == other.shape
    one, other = one.nan_to_num(), other.nan_to_num()
    return float((one - other).abs().max()) <= _CLOSE * float(one.abs().max())
