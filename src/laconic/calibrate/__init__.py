"""Calibrated compression: a model that runs, data to run it on, and a target."""

from laconic.calibrate.forms import Options
from laconic.calibrate.record import Record, code_identity
from laconic.calibrate.request import Ready, Request
from laconic.calibrate.rounder import Rounder
from laconic.calibrate.run import Run
from laconic.calibrate.search import Allowed, Try, parse_drop
from laconic.calibrate.vectors import calibrated_schemes

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
