"""Which tensors a data-free plan quantises."""

from __future__ import annotations

from math import prod

FLOATS = ("F64", "F32", "F16", "BF16")

# A tensor below this is not worth a loss. Higher is dear for small models: with 4,096 the exact
# 16x16x3x3 convolutions of a ResNet-20 fill 60 % of a file of 12x, and the rest loses six times
# as much.
SMALLEST = 1024


def quantisable(dtype: str, shape: tuple[int, ...]) -> bool:
    """Whether a tensor is a float matrix (or more) of at least 1,024 values.

    Vectors (biases, norms) are few and multiply everything: they stay bit-exact. So do those that
    are written with axes of one more, as the biases of ONNX's LSTM.

    >>> quantisable("F32", (384, 384)), quantisable("F32", (9000,)), quantisable("I64", (99, 99))
    (True, False, False)
    >>> quantisable("F32", (1, 9000))
    False
    """
    wide = sum(number > 1 for number in shape)
    return dtype in FLOATS and wide >= 2 and prod(shape) >= SMALLEST
