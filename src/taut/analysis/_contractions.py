"""Products of two tensors as einsum writes them: which axes are shared, summed over, and kept.

What a call does with the axes of a weight says which of them takes inputs, which gives outputs, and
which numbers matrices (experts, heads): its name and its shape do not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from string import ascii_letters
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    import torch

Labels: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Contraction:
    """The product of two tensors: a label for each axis of either, and of the output.

    With `offsets` the first axis of `first` and of the output falls into runs that end there; each
    is multiplied by one matrix of `second`, whose first axis numbers them.
    """

    first: torch.Tensor
    second: torch.Tensor
    labels: tuple[Labels, Labels]
    output: Labels
    bias: torch.Tensor | None = None
    offsets: torch.Tensor | None = None


Given: TypeAlias = Mapping[str, object]
Maker: TypeAlias = "Callable[[torch.Tensor, torch.Tensor, Given], Contraction | None]"

_DOTS: Final = "..."
_FALLBACK: Final = "transformers::grouped_mm_fallback"  # an operator of theirs, by its full name


def contraction_of(
    function: Callable[..., object], args: Sequence[object], kwargs: Given
) -> Contraction | None:
    """The product that a call of torch computes; None if it is none, or one of more than two."""
    import torch

    if function is torch.einsum:
        return _einsum(args)
    table = _table()
    known = table.get(function) or table.get(getattr(function, "_qualified_op_name", None))
    if known is None:
        return None
    names, operands, maker = known
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    first, second = (given.get(name) for name in operands)
    if not isinstance(first, torch.Tensor) or not isinstance(second, torch.Tensor):
        return None
    return maker(first, second, given)


@cache
def _table() -> dict[object, tuple[tuple[str, ...], tuple[str, str], Maker]]:
    import torch
    from torch import Tensor
    from torch.nn import functional

    table: dict[object, tuple[tuple[str, ...], tuple[str, str], Maker]] = {
        functional.linear: (("input", "weight", "bias"), ("input", "weight"), _linear)
    }
    plain: dict[str, tuple[object, ...]] = {
        "other": (torch.matmul, Tensor.matmul, Tensor.__matmul__),
        "mat2": (torch.mm, Tensor.mm, torch.bmm, Tensor.bmm),
        "vec": (torch.mv, Tensor.mv),
    }
    for other, functions in plain.items():
        names = ("input", other)
        table |= dict.fromkeys(functions, (names, names, _matmul))
    adding: dict[str, tuple[object, ...]] = {
        "mat": (torch.addmm, Tensor.addmm),
        "batch": (torch.baddbmm, Tensor.baddbmm),
    }
    for prefix, functions in adding.items():
        operands = (f"{prefix}1", f"{prefix}2")
        table |= dict.fromkeys(functions, (("input", *operands), operands, _added))
    runs = (("first", "second", "offs"), ("first", "second"), _grouped)
    table[_FALLBACK] = (("input", "weight", "offs"), ("input", "weight"), _grouped)
    for holder, name in ((functional, "grouped_mm"), (torch, "_grouped_mm")):
        if hasattr(holder, name):  # newer than the oldest torch that serves
            table[getattr(holder, name)] = runs
    return table


def _linear(first: torch.Tensor, second: torch.Tensor, given: Given) -> Contraction | None:
    if second.ndim != 2 or not first.ndim:
        return None
    fresh = count()
    before, i, o = tuple(next(fresh) for _ in first.shape[:-1]), next(fresh), next(fresh)
    return Contraction(
        first, second, ((*before, i), (o, i)), (*before, o), bias=_tensor(given.get("bias"))
    )


def _matmul(first: torch.Tensor, second: torch.Tensor, given: Given) -> Contraction | None:
    if not first.ndim or not second.ndim:
        return None
    fresh = count()
    k = next(fresh)
    n = (next(fresh),) if first.ndim > 1 else ()
    m = (next(fresh),) if second.ndim > 1 else ()
    one, other, both = _stretched(first.shape[:-2], second.shape[:-2], fresh)
    right = (k, *m)
    return Contraction(first, second, ((*one, *n, k), (*other, *right)), (*both, *n, *m))


def _stretched(
    one: Sequence[int], other: Sequence[int], fresh: count[int]
) -> tuple[Labels, Labels, Labels]:
    """Labels of leading axes that torch broadcasts: an axis of one value has a label of its own."""
    longest = max(len(one), len(other))
    sizes = [(1,) * (longest - len(shape)) + tuple(shape) for shape in (one, other)]
    left, right, both = [], [], []
    for a, b in zip(*sizes, strict=True):
        label = next(fresh)
        left.append(label if a > 1 or b == 1 else next(fresh))
        right.append(label if b > 1 or a == 1 else next(fresh))
        both.append(label)
    return tuple(left[longest - len(one) :]), tuple(right[longest - len(other) :]), tuple(both)


def _added(first: torch.Tensor, second: torch.Tensor, given: Given) -> Contraction | None:
    """`bias + x @ weight`, the way of GPT-2's layers."""
    if given.get("beta", 1) != 1 or given.get("alpha", 1) != 1:
        return None
    found = _matmul(first, second, given)
    if found is None:
        return None
    bias = _tensor(given.get("input"))
    return Contraction(first, second, found.labels, found.output, bias=bias)


def _grouped(first: torch.Tensor, second: torch.Tensor, given: Given) -> Contraction | None:
    offsets = _tensor(given.get("offs"))
    if offsets is None:
        return _matmul(first, second, given)
    if (first.ndim, second.ndim) != (2, 3):
        return None
    return Contraction(first, second, ((0, 1), (2, 1, 3)), (0, 3), offsets=offsets)


def of_two(args: Sequence[object], weight: Callable[[torch.Tensor], bool]) -> tuple[object, ...]:
    """Arguments of einsum for the same result from two operands, of which one is the weight.

    All others are multiplied first. As they are if there are two, or more than one weight.
    """
    import torch

    equation, *operands = args
    tensors = [one for one in operands if isinstance(one, torch.Tensor)]
    mine = [number for number, one in enumerate(tensors) if weight(one)]
    spelled = isinstance(equation, str) and "->" in equation and _DOTS not in equation
    if not spelled or len(mine) != 1 or not 2 < len(tensors) == len(operands):
        return tuple(args)
    left, _, output = str(equation).replace(" ", "").partition("->")
    terms, used = left.split(","), tensors.pop(mine[0])
    term = terms.pop(mine[0])
    kept = "".join(sorted({*"".join(terms)} & {*term, *output}))
    others = torch.einsum(f"{','.join(terms)}->{kept}", *tensors)
    return f"{kept},{term}->{output}", others, used


def _einsum(args: Sequence[object]) -> Contraction | None:
    from torch import Tensor

    match args:
        case (str() as equation, Tensor() as first, Tensor() as second):
            pass
        case (str() as equation, [Tensor() as first, Tensor() as second]):
            pass
        case _:
            return None
    left, arrow, output = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if not arrow:
        letters = sorted(letter for letter in ascii_letters if left.count(letter) == 1)
        output = "".join([_DOTS] * (_DOTS in left) + letters)
    labels = (_spelled(terms[0], first.ndim), _spelled(terms[1], second.ndim))
    dots = max(sum(label < 0 for label in one) for one in labels)
    found = _spelled(output, len(output.replace(_DOTS, "")) + dots)
    if any(len(set(one)) < len(one) for one in (*labels, found)):
        return None
    return Contraction(first, second, labels, found)


def _spelled(term: str, axes: int) -> Labels:
    """Labels of a term; the axes of `...` count back from -1, so that they meet from the right."""
    before, _, after = term.partition(_DOTS)
    dots = axes - len(before) - len(after) if _DOTS in term else 0
    return (*map(ord, before), *range(-dots, 0), *map(ord, after))


def _tensor(value: object) -> torch.Tensor | None:
    import torch

    return value if isinstance(value, torch.Tensor) else None
