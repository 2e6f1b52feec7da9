"""Which batch norm takes what which weight makes, and nobody else: found by one run.

Not by classes or names: the operators say what they were given. A weight counts that enters one
convolution or linear product as it lies in the module, whose result one norm alone reads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from taut.networks.calls import evaluating, run

if TYPE_CHECKING:
    import torch

_PRODUCTS: Final = ("convolution", "addmm", "mm", "linear")
_VECTORS: Final = ("weight", "bias", "running_mean", "running_var")
_WHERE: Final = "calibration batch"


@dataclass(frozen=True)
class NormPair:
    """A batch norm with its four vectors by their names, and the weight before it, if it has one.

    `vectors` are weight, bias, mean and variance. `outputs` is the axis of the weight that counts
    the norm's channels, `groups` those of a convolution; where outputs come second, they are as
    many runs of channels. `bias` is the weight's own.
    """

    vectors: tuple[str, str, str, str]
    eps: float
    weight: str | None = None
    bias: str | None = None
    outputs: int = 0
    groups: int = 1


@dataclass(frozen=True)
class _Product:
    """What a weight made: held, so that no other tensor takes its memory."""

    made: torch.Tensor
    weight: str
    bias: str | None
    outputs: int
    groups: int


@dataclass
class _Seen:
    """What a run did with the network's own tensors, and with what its weights made."""

    names: dict[int, list[str]]
    shapes: dict[str, torch.Size]
    products: dict[int, _Product] = field(default_factory=dict)
    norms: list[tuple[int, NormPair]] = field(default_factory=list)
    uses: Counter[int] = field(default_factory=Counter)

    def name(self, tensor: object) -> str | None:
        """The one name of a tensor that is a whole parameter or buffer of the network."""
        found = self.names.get(_memory(tensor), [])
        if len(found) != 1 or self.shapes[found[0]].numel() != getattr(tensor, "numel", int)():
            return None
        return found[0]


def find_norms(module: torch.nn.Module, batch: object) -> list[NormPair]:
    """All batch norms that a run in evaluation mode goes through once, in their order.

    Norms without a weight and bias, or without statistics, are left out.

    Raises:
        ArgumentError: the module rejects the batch.

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))
    >>> [(one.weight, one.vectors[0]) for one in find_norms(net, torch.ones(1, 3, 8, 8))]
    [('0.weight', '1.weight')]
    """
    import torch

    seen = _seen(module)
    with torch.random.fork_rng(devices=[]), torch.no_grad(), evaluating(module), _watching(seen):
        run(module, batch, _WHERE)
    memory = {name: key for key, names in seen.names.items() for name in names}
    once = [
        (key, pair)
        for key, pair in seen.norms
        if all(seen.uses[memory[name]] == 1 for name in pair.vectors)
    ]
    return [_paired(seen, memory, key, pair) for key, pair in once]


def _paired(seen: _Seen, memory: dict[str, int], key: int, norm: NormPair) -> NormPair:
    """A norm with the weight before it, if nothing else reads that or what it makes."""
    product = seen.products.get(key)
    if product is None:
        return norm
    used = [key, memory[product.weight]]
    used += [] if product.bias is None else [memory[product.bias]]
    if any(seen.uses[one] != 1 for one in used):
        return norm
    return replace(
        norm,
        weight=product.weight,
        bias=product.bias,
        outputs=product.outputs,
        groups=product.groups,
    )


def _seen(module: torch.nn.Module) -> _Seen:
    """Nothing so far, of a network whose parameters and buffers are known by their memory."""
    names: dict[int, list[str]] = {}
    shapes: dict[str, torch.Size] = {}
    for named in (module.named_parameters, module.named_buffers):
        for name, one in named(remove_duplicate=False):
            if one.numel() and one.is_floating_point():
                names.setdefault(_memory(one), []).append(name)
                shapes[name] = one.shape
    return _Seen(names, shapes)


def _memory(tensor: object) -> int:
    """Where a tensor's storage lies; 0 of what has none."""
    import torch

    if not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided:
        return 0
    return tensor.untyped_storage().data_ptr()


def _watching(seen: _Seen) -> Any:
    """A mode of torch in which every operator is looked at."""
    return _norm_watch()(seen)


@cache
def _norm_watch() -> type[Any]:
    from torch.utils._python_dispatch import TorchDispatchMode

    class NormWatch(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types here
        def __init__(self, seen: _Seen) -> None:
            super().__init__()  # type: ignore[no-untyped-call]
            self._seen = seen

        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> object:
            made = func(*args, **(kwargs or {}))
            _look(self._seen, func, args, kwargs or {}, made)
            return made

    return NormWatch


def _look(seen: _Seen, func: Any, args: Sequence[object], kwargs: Any, made: object) -> None:
    """Count what an operator reads; keep what is made by a weight, or by a norm."""
    given = [*_tensors([*args, *kwargs.values()])]
    if not given or _is_view(given, made):
        return
    name = str(func._schema.name).split("::")[-1]
    if "batch_norm" in name:
        _keep_norm(seen, given[0], _norm(seen, func, args, kwargs))
    elif name in _PRODUCTS and (product := _of_weight(seen, name, args, made)) is not None:
        seen.products[_memory(product.made)] = product
    read = [_memory(one) for one in given]
    seen.uses.update(key for key in read if key in seen.names or key in seen.products)


def _keep_norm(seen: _Seen, given: torch.Tensor, norm: NormPair | None) -> None:
    """Keep a norm with where its input lies; 0 where that is no product as it was made."""
    if norm is not None:
        product = seen.products.get(_memory(given))
        same = product is not None and product.made.shape == given.shape
        seen.norms.append((_memory(given) if same else 0, norm))


def _is_view(given: Sequence[torch.Tensor], made: object) -> bool:
    """Whether an operator only looks at what it was given in another way."""
    import torch

    return (
        len(given) == 1
        and isinstance(made, torch.Tensor)
        and made is not given[0]
        and _memory(made) == _memory(given[0]) != 0
    )


def _norm(seen: _Seen, func: Any, args: Sequence[object], kwargs: Any) -> NormPair | None:
    """The norm that an operator computes from four vectors of the network; None if from others."""
    names = [one.name for one in func._schema.arguments]
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    vectors = tuple(seen.name(given.get(name)) for name in _VECTORS)
    eps = given.get("eps", given.get("epsilon"))
    training = given.get("training", given.get("train", False))
    if training or None in vectors or len({*vectors}) < len(vectors) or not isinstance(eps, float):
        return None
    return NormPair(vectors, eps)  # type: ignore[arg-type]  # none of the four is None


def _of_weight(seen: _Seen, name: str, args: Sequence[object], made: object) -> _Product | None:
    """What a product made, if its weight lies in the network as it is, and its bias too."""
    import torch

    if not isinstance(made, torch.Tensor):
        return None
    if name in ("addmm", "mm"):
        return _of_linear(seen, name, args, made)
    weight, bias = args[1], args[2] if len(args) > 2 else None
    if name == "linear":
        return None if made.ndim != 2 else _product(seen, made, weight, bias, 0, 1)
    transposed, groups = bool(args[6]), args[8]
    assert isinstance(groups, int)
    return _product(seen, made, weight, bias, 1 if transposed else 0, groups)


def _of_linear(
    seen: _Seen, name: str, args: Sequence[object], made: torch.Tensor
) -> _Product | None:
    """X W^T, with the weight (outputs, inputs) turned; of x W the outputs come second."""
    import torch

    bias, weight = (args[0], args[2]) if name == "addmm" else (None, args[1])
    named = seen.name(weight)
    if named is None or not isinstance(weight, torch.Tensor):
        return None
    plain = weight.shape == seen.shapes[named] and weight.is_contiguous()
    return _product(seen, made, weight, bias, 1 if plain else 0, 1)


def _product(
    seen: _Seen, made: torch.Tensor, weight: object, bias: object, outputs: int, groups: int
) -> _Product | None:
    named = seen.name(weight)
    own = None if bias is None else seen.name(bias)
    if named is None or (bias is not None and own is None):
        return None
    return _Product(made, named, own, outputs, groups)


def _tensors(values: Sequence[object]) -> Iterator[torch.Tensor]:
    import torch

    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from _tensors(value)
