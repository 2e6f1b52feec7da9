"""Calibrated compression: a model that runs, data to run it on, and a target."""

from taut.calibrate.forms import Options
from taut.calibrate.record import Record, code_identity
from taut.calibrate.request import Ready, Request
from taut.calibrate.rounder import Rounder
from taut.calibrate.run import Run
from taut.calibrate.search import Allowed, Try, parse_drop
from taut.calibrate.vectors import calibrated_schemes

__all__ = [
    "Allowed",
    "Options",
    "Ready",
    "Record",
    "Request",
    "Rounder",
    "Run",
    "Try",
    "calibrated_schemes",
    "code_identity",
    "parse_drop",
]
