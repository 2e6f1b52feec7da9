"""Which values of a graph are no weights: shapes hang on them, or they bound and scale others.

To round such a number is no matter of accuracy: an image that a Resize makes by a factor of 1.1
has another size by 1.0996.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Final

from taut.io._onnx_within import Node

# By the operator, the places among its inputs that must stay as they are.
_EVERY: Final = range(1 << 16)
_BEHIND: Final = range(1, 1 << 16)
_PLACES: Final[dict[str, Container[int]]] = {
    "Clip": (1, 2),
    "ConstantOfShape": (0,),
    "DequantizeLinear": (1, 2),
    "Dropout": (1,),
    "If": (0,),
    "Loop": (0, 1),
    "NonMaxSuppression": (2, 3, 4),
    "OneHot": (1, 2),
    "Pad": (1, 2, 3),
    "QuantizeLinear": (1, 2),
    "QLinearConv": range(1, 8),
    "QLinearMatMul": range(1, 8),
    "Range": _EVERY,
    "Resize": (1, 2, 3),
    "Upsample": (1,),
    "com.microsoft:DequantizeLinear": (1, 2),
    "com.microsoft:DynamicQuantizeMatMul": _BEHIND,
    "com.microsoft:GatherBlockQuantized": _EVERY,
    "com.microsoft:MatMulIntegerToFloat": range(2, 1 << 16),
    "com.microsoft:MatMulNBits": _BEHIND,
    "com.microsoft:QAttention": _BEHIND,
    "com.microsoft:QuantizeLinear": (1, 2),
}
# What these give is made of what they take, number by number.
_ONWARD: Final = frozenset(
    (
        *("Abs", "Add", "Cast", "Ceil", "Concat", "Div", "Expand", "Floor", "Gather", "Identity"),
        *("Max", "Min", "Mul", "Neg", "Reciprocal", "Reshape", "Round", "Slice", "Split", "Sqrt"),
        *("Squeeze", "Sub", "Tile", "Transpose", "Unsqueeze", "Where"),
    )
)


def fixed_values(nodes: Iterable[Node]) -> set[str]:
    """The names of values that must not be rounded, wherever nodes take them in such a place.

    >>> sorted(fixed_values([Node("Mul", ("a", "b"), ("c",)), Node("Resize", ("x", "", "c"), ())]))
    ['a', 'b', 'c']
    """
    found: set[str] = set()
    makers: dict[str, list[Node]] = {}
    for node in nodes:
        found.update(_told(node))
        for name in node.outputs if node.operator in _ONWARD else ():
            makers.setdefault(name, []).append(node)
    left = list(found)
    while left:
        for node in makers.pop(left.pop(), []):
            more = [name for name in node.inputs if name and name not in found]
            found.update(more)
            left += more
    return found


def _told(node: Node) -> list[str]:
    """What a node takes in such places."""
    places = _PLACES.get(node.operator, ())
    return [name for place, name in enumerate(node.inputs) if name and place in places]
