"""Operators of TorchScript as functions of Python, so that what watches torch's calls sees them.

Those that apply a weight are the functions that eager layers call. What computes with numbers,
texts, lists and dicts is Python's own; all else is torch's operator of the very overload.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final, TypeAlias

Operator: TypeAlias = Callable[..., Any]


def operator_of(kind: str, schema: str) -> Operator:
    """What computes a node of a graph from its inputs in order; `schema` is the node's.

    Raises:
        LookupError: there is no such operator.
    """
    if kind in _applied():
        return _applied()[kind]
    if kind in _PLAIN:
        return _PLAIN[kind]
    if kind in _PYTHON:
        return _either(_PYTHON[kind], kind, schema)
    return _torch(kind, schema)


def _torch(kind: str, schema: str) -> Operator:
    """The overload that the schema names; arguments that go by keyword are given so."""
    import torch

    if schema == "(no schema)":
        raise LookupError(kind)
    space, _, name = kind.partition("::")
    told = torch._C.parse_schema(schema)
    found: Operator = getattr(getattr(torch.ops, space), name)
    if told.overload_name or space == "aten":
        found = getattr(found, told.overload_name or "default")
    plain = sum(not one.kwarg_only for one in told.arguments)
    words = [one.name for one in told.arguments[plain:]]

    def run(*args: object) -> object:
        return found(*args[:plain], **dict(zip(words, args[plain:], strict=False)))

    return run


def _either(ours: Operator, kind: str, schema: str) -> Operator:
    """Python's operator unless a tensor is among the first two values; then torch's."""
    from torch import Tensor

    theirs = _torch(kind, schema)

    def run(*args: object) -> object:
        given = any(isinstance(one, Tensor) for one in args[:2])
        return theirs(*args) if given else ours(*args)

    return run


@cache
def _applied() -> dict[str, Operator]:
    """What applies weights, or copies them, as eager code calls it."""
    import torch
    from torch import Tensor
    from torch.nn import functional

    table: dict[str, Operator] = {
        "aten::linear": functional.linear,
        "aten::embedding": _embedding,
        "aten::einsum": lambda equation, tensors, path=None: torch.einsum(equation, *tensors),
        "aten::_convolution": _convolution,
        "aten::convolution": _convolution,
        "aten::index": lambda tensor, at: tensor[
            tuple(slice(None) if i is None else i for i in at)
        ],
        "aten::contiguous": lambda tensor, form=None: tensor.contiguous(),
        "aten::addmm": lambda b, x, w, beta=1, alpha=1: torch.addmm(
            b, x, w, beta=beta, alpha=alpha
        ),
        "aten::baddbmm": lambda b, x, w, beta=1, alpha=1: torch.baddbmm(
            b, x, w, beta=beta, alpha=alpha
        ),
        "aten::type_as": Tensor.type_as,
    }
    for axes in (1, 2, 3):
        for name in (f"conv{axes}d", f"conv_transpose{axes}d"):
            table[f"aten::{name}"] = getattr(functional, name)
    for name in ("matmul", "mm", "bmm", "mv", "index_select"):
        table[f"aten::{name}"] = getattr(torch, name)
    for name in ("lstm", "gru", "rnn_tanh", "rnn_relu"):
        for word in (name, f"{name}_cell"):
            table[f"aten::{word}"] = getattr(torch, word)
    return table


def _embedding(
    weight: Any, indices: Any, padding: int = -1, scale: bool = False, sparse: bool = False
) -> object:
    from torch.nn import functional

    return functional.embedding(
        indices, weight, None if padding < 0 else padding, scale_grad_by_freq=scale
    )


def _convolution(
    inputs: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any,
    transposed: bool, more: Any, groups: int, *_: object,
) -> object:  # fmt: skip
    """What a trace holds in place of each layer's own function."""
    from torch.nn import functional

    axes = weight.ndim - 2
    if transposed:
        back = getattr(functional, f"conv_transpose{axes}d")
        return back(inputs, weight, bias, stride, padding, more, groups, dilation)
    return getattr(functional, f"conv{axes}d")(
        inputs, weight, bias, stride, padding, dilation, groups
    )


def _raise(message: object = "", *_: object) -> None:
    raise RuntimeError(str(message))


def _pop(values: list[Any], at: int = -1) -> object:
    return values.pop(at)


def _set(values: Any, at: Any, value: object) -> object:
    values[at] = value
    return values


def _add_to(values: list[Any], more: list[Any]) -> list[Any]:
    values += more
    return values


def _extend(values: list[Any], more: list[Any]) -> None:
    values.extend(more)


def _append(values: list[Any], value: object) -> list[Any]:
    values.append(value)
    return values


def _slice(values: Any, start: int | None, end: int | None, step: int = 1) -> Any:
    return values[start:end:step]


def _tensor_free_slice(*args: Any) -> Any:
    import torch

    if isinstance(args[0], torch.Tensor):
        return torch.ops.aten.slice.Tensor(*args)
    return _slice(*args)


def _typed(device: Any) -> str:
    return str(device.type)


_PLAIN: Final[Mapping[str, Operator]] = {
    "prim::RaiseException": _raise,
    "prim::unchecked_cast": lambda value: value,
    "prim::Uninitialized": lambda: None,
    "prim::ListConstruct": lambda *parts: list(parts),
    "prim::TupleConstruct": lambda *parts: tuple(parts),
    "prim::DictConstruct": lambda *parts: dict(zip(parts[::2], parts[1::2], strict=True)),
    "prim::TupleIndex": lambda values, at: values[at],
    "prim::type": _typed,
    "prim::Print": lambda *_: None,
    "aten::warn": lambda *_: None,
    "aten::format": lambda text, *values: text.format(*values),
    "aten::append": _append,
    "aten::extend": _extend,
    "aten::insert": lambda values, at, value: values.insert(at, value),
    "aten::pop": _pop,
    "aten::clear": lambda values: values.clear(),
    "aten::reverse": lambda values: values.reverse(),
    "aten::_set_item": _set,
    "aten::Delete": lambda values, at: operator.delitem(values, at),
    "aten::add_": lambda one, other, *more: (
        _add_to(one, other) if isinstance(one, list) else _added(one, other, *more)
    ),
    "aten::list": list,
    "aten::dict": dict,
    "aten::copy": lambda values: values.copy(),
    "aten::keys": lambda values: [*values.keys()],
    "aten::values": lambda values: [*values.values()],
    "aten::items": lambda values: [*values.items()],
    "aten::get": lambda values, key, other=None: values.get(key, other),
    "aten::__is__": operator.is_,
    "aten::__isnot__": operator.is_not,
    "aten::__not__": operator.not_,
    "aten::slice": _tensor_free_slice,
    "aten::str": str,
}


def _added(one: Any, other: Any, alpha: Any = 1) -> object:
    return one.add_(other, alpha=alpha)


_PYTHON: Final[Mapping[str, Operator]] = {
    "aten::__getitem__": operator.getitem,
    "aten::__contains__": lambda values, value: value in values,
    "aten::len": len,
    "aten::add": lambda one, other, *_: one + other,
    "aten::eq": operator.eq,
    "aten::ne": operator.ne,
    "aten::mul": operator.mul,
}
