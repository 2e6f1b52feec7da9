"""What a file will decode to, and the network that has these values."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from taut.calibration.overlay import as_stored, as_written, of_dtype
from taut.calibration.rounder import Rounder
from taut.calibration.start import Started
from taut.calibration.vectors import Vectors
from taut.encoding.data_free_rounder import sparse
from taut.io import Source
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
        if (scheme := schemes.get(info.name)) is None:
            continue
        if scheme.kind == "rd":
            found[info.name] = as_stored(info, rounder.decoded(info.name))
        elif info.name in rounder.grids:
            found[info.name] = rounder.grids[info.name].values(of_dtype(info))
        elif scheme.kind == "fp16" or sparse(scheme):
            found[info.name] = as_written(info, source.load(info.name), scheme)
        elif info.name in changed:
            found[info.name] = source.load(info.name)
    return found


def show(started: Started, vectors: Vectors) -> None:
    """Give the student what the file would hold: the matrices as rounded, and these vectors."""
    student, work = started.student, started.work
    changed = {*vectors.values, *student.loaded}
    source = vectors.over(work.source)
    student.load(written_values(source, work.schemes, started.rounder, changed=changed))
