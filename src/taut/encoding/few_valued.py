"""Matrices of a handful of values (masks), which are smaller bit for bit than rounded."""

from __future__ import annotations

import math
from collections.abc import Mapping

from taut.coding import Effort
from taut.encoding.choose_coder import MOST_FEW, coded_few
from taut.io import Source
from taut.scheme import Scheme


def few_spared(
    source: Source, schemes: Mapping[str, Scheme], *, effort: Effort, threads: int = 1
) -> dict[str, Scheme]:
    """`schemes`, with what `rd` rounds lossless where it has a handful of values.

    So has what is to take so many bits, where it does not take more. Of a finer step such a matrix
    would have ever larger tables of levels that nothing lies at, and its size would jump. Loads
    these matrices, one at a time.
    """
    small = {info.name for info in source.infos if math.prod(info.shape) <= MOST_FEW}
    return {
        name: Scheme() if name in small and _fits(source, name, scheme, effort, threads) else scheme
        for name, scheme in schemes.items()
    }


def _fits(source: Source, name: str, scheme: Scheme, effort: Effort, threads: int) -> bool:
    if scheme != Scheme("rd", bits=scheme.bits):
        return False
    values = source.load(name)
    coded = coded_few(values, effort=effort, threads=threads)
    return coded is not None and 8 * coded.nbytes <= (scheme.bits or math.inf) * values.size
