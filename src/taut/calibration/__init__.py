"""Calibrated compression: a model that runs, data to run it on, and a target."""

from taut.calibration.findings import Findings, code_identity
from taut.calibration.options import Options
from taut.calibration.request import Ready, Request
from taut.calibration.rounder import Rounder
from taut.calibration.run import Run
from taut.calibration.schemes import calibrated_schemes
from taut.calibration.search import Try
from taut.planning.max_drop import Allowed, parse_drop

__all__ = [
    "Allowed",
    "Findings",
    "Options",
    "Ready",
    "Request",
    "Rounder",
    "Run",
    "Try",
    "calibrated_schemes",
    "code_identity",
    "parse_drop",
]
