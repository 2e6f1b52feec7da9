"""What a calibrated run works with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from taut.analysis import Curvature
from taut.calibration.request import Request
from taut.container import Origin
from taut.io import Source
from taut.networks import Calibration, LoadedModel
from taut.progress import Progress
from taut.scheme import Scheme


@dataclass(frozen=True, kw_only=True)
class Work:
    """The tensors of `source` with their `schemes`, the network that runs them, and its data.

    `origin` is what the file is to remember. `forms` is the curvature by tensors that earlier runs
    of the same network and data have found, None of a tensor that has none; what this run finds is
    added.
    """

    source: Source
    schemes: Mapping[str, Scheme]
    model: LoadedModel
    calibration: Calibration
    request: Request
    origin: Origin
    progress: Progress | None = None
    forms: dict[str, Curvature | None] = field(default_factory=dict)
