"""The finishing touches of a calibrated run: what is no matrix, tuned to the original's outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from taut.calibration.overlay import as_stored
from taut.calibration.rounded_network import RoundedNetwork
from taut.io import Source
from taut.networks import Calibration
from taut.networks.output_kind import output_kind
from taut.progress import Progress

if TYPE_CHECKING:
    import torch


def tuned_vectors(
    student: RoundedNetwork,
    teacher: torch.nn.Module,
    source: Source,
    free: list[str],
    calibration: Calibration,
    *,
    seed: int,
    progress: Progress | None,
) -> tuple[dict[str, np.ndarray], str]:
    """The tensors `free` as tuning leaves them in the student, by name; and a note, or ""."""
    from taut.transform.finish import finish

    names = student.parameters_of(free)
    if not names:
        return {}, ""
    found = finish(
        student.module,
        teacher,
        lambda: calibration,
        list(names),
        kind=output_kind(teacher, next(iter(calibration))),
        seed=seed,
        progress=progress,
    )
    infos = {info.name: info for info in source.infos}
    tuned = {
        names[parameter]: as_stored(infos[names[parameter]], values)
        for parameter, values in found.values.items()
    }
    return tuned, f"finishing: {found.note}" if found.note else ""
