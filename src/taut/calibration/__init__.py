"""Calibrated compression: a model that runs, data to run it on, and a target."""

from taut.calibration.findings import Findings, code_identity
from taut.calibration.inputs import Work
from taut.calibration.options import Options
from taut.calibration.projections import most_projections
from taut.calibration.request import Ready, Request
from taut.calibration.rounder import Rounder
from taut.calibration.run import calibrate
from taut.calibration.search import Try
from taut.calibration.start import is_large
from taut.calibration.values import written_values
from taut.planning.max_drop import Allowed, parse_drop

__all__ = [
    "Allowed",
    "Findings",
    "Options",
    "Ready",
    "Request",
    "Rounder",
    "Try",
    "Work",
    "calibrate",
    "code_identity",
    "is_large",
    "most_projections",
    "parse_drop",
    "written_values",
]
