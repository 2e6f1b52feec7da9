"""What a file will decode to."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from taut.calibration.overlay import as_stored, as_written, of_dtype
from taut.calibration.rounder import Rounder
from taut.encoding.data_free_rounder import sparse
from taut.encoding.on_base import as_it_is, standing
from taut.io import Source, TensorInfo
from taut.scheme import Scheme


def written_values(
    source: Source,
    schemes: Mapping[str, Scheme],
    rounder: Rounder,
    *,
    changed: Collection[str] = (),
) -> dict[str, np.ndarray]:
    """What the file decodes to with the matrices as they are rounded, in the tensors' dtypes.

    Of tensors that are stored exactly only those in `changed` are given.
    """
    found: dict[str, np.ndarray] = {}
    for info in source.infos:
        values = written(source, schemes, rounder, info, changed=info.name in changed)
        if values is not None:
            found[info.name] = values
    return found


def written(
    source: Source,
    schemes: Mapping[str, Scheme],
    rounder: Rounder,
    info: TensorInfo,
    *,
    changed: bool = False,
) -> np.ndarray | None:
    """What the file decodes to for one tensor, in its dtype; None where it is the source's.

    A tensor that is stored exactly is given if it is `changed`; a matrix that was not rounded yet
    is the source's. Of what stands on a base it is the base's tensor with what it differs by.
    """
    found = _held(source, schemes, rounder, info)
    if found is not None:
        return standing(source, info, found)
    exact = info.name in schemes and schemes[info.name].kind != "rd"
    return as_it_is(source, info).load(info.name) if changed and exact else None


def _held(
    source: Source, schemes: Mapping[str, Scheme], rounder: Rounder, info: TensorInfo
) -> np.ndarray | None:
    """What the file holds for a tensor that is not stored exactly, decoded."""
    if (scheme := schemes.get(info.name)) is None:
        return None
    if scheme.kind == "rd":
        known = rounder.twins.get(info.name, info.name) in rounder.found
        return as_stored(info, rounder.decoded(info.name)) if known else None
    if info.name in rounder.grids:
        return rounder.grids[info.name].values(of_dtype(info))
    if scheme.kind == "fp16" or sparse(scheme):
        return as_written(info, source.load(info.name), scheme)
    return None
