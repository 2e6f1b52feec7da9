"""Which matrices a scheme of groups, or of n in m, divides."""

from __future__ import annotations

from taut.scheme import Scheme


def divides(scheme: Scheme, shape: tuple[int, ...]) -> bool:
    """Whether the columns of a tensor can be cut into a scheme's groups.

    >>> divides(Scheme("int4", group_size=32), (64, 172)), divides(Scheme("rd"), (64, 172))
    (False, True)
    """
    from taut.transform.grid import matrix_shape

    columns = matrix_shape(shape)[1]
    return all(columns % size == 0 for size in pieces_of(scheme))


def pieces_of(scheme: Scheme) -> list[int]:
    """How many columns belong together in a scheme: in a group, and in an M of N:M."""
    sizes = (scheme.group, scheme.n_of_m[1] if scheme.n_of_m else None)
    return [size for size in sizes if size is not None]
