"""What is no matrix: biases, norms, statistics: so few that as fp16 they cost next to nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from taut.encoding.tensor import check_schemes
from taut.io import Source
from taut.io.source import fixed_of
from taut.planning import quantisable
from taut.scheme import Scheme

_SMALLEST, _LARGEST = 2.0**-14, 65504.0  # fp16 keeps eleven bits of what lies between


def calibrated_schemes(
    source: Source, plan: Mapping[str, Scheme], fixed: Collection[str] = ()
) -> dict[str, Scheme]:
    """`plan` with matrices under the dial and other floats as fp16, where it says nothing of them.

    A tensor with a value that fp16 cannot hold to eleven bits stays lossless.

    Raises:
        ArgumentError: a scheme does not fit its tensor.
    """
    check_schemes(source, plan)
    schemes, fixed = dict(plan), {*fixed, *fixed_of(source)}
    for info in source.infos:
        if info.name in source.aliases or info.name in fixed:
            continue
        if quantisable(info.dtype, info.shape):
            schemes[info.name] = Scheme("rd")
        elif info.dtype in ("F32", "F64", "BF16") and holds_halves(source.load(info.name)):
            schemes[info.name] = Scheme("fp16")
    return schemes


def holds_halves(values: np.ndarray) -> bool:
    """Whether fp16 has a normal number near every value.

    >>> holds_halves(np.array([0.0, 1.5, -300.0])), holds_halves(np.array([1e-6]))
    (True, False)
    """
    magnitudes = np.abs(values.astype(np.float64).reshape(-1))
    magnitudes = magnitudes[magnitudes != 0]
    if not np.isfinite(magnitudes).all():
        return False
    return bool(((magnitudes >= _SMALLEST) & (magnitudes <= _LARGEST)).all())
