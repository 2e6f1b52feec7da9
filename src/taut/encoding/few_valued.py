"""Matrices of a handful of values (masks), which are smaller bit for bit than rounded."""

from __future__ import annotations

from collections.abc import Mapping

from taut.encoding.choose_coder import coded_few
from taut.io import Source
from taut.scheme import Scheme


def few_spared(
    source: Source, schemes: Mapping[str, Scheme], *, threads: int = 1
) -> dict[str, Scheme]:
    """`schemes`, with what is under the dial lossless where it has a handful of values.

    Of a finer step such a matrix would have ever larger tables of levels that nothing lies at,
    and its size would jump. Loads the matrices under the dial, one at a time.
    """
    return {
        name: Scheme()
        if scheme == Scheme("rd") and coded_few(source.load(name), threads=threads) is not None
        else scheme
        for name, scheme in schemes.items()
    }
