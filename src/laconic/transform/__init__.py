"""Changes of the weights: a tensor and a scheme in, what is coded of it out."""

from laconic.transform.quantize import (
    LAMBDA,
    Indices,
    quantize,
    quantize_matrix,
    sample_rows,
    trellis_rounded,
)
from laconic.transform.rounding import Metric, Rounded, make_metric, round_matrix

__all__ = [
    "LAMBDA",
    "Indices",
    "Metric",
    "Rounded",
    "make_metric",
    "quantize",
    "quantize_matrix",
    "round_matrix",
    "sample_rows",
    "trellis_rounded",
]
