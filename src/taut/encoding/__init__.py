"""Schemes carried out over the tensors of a model: each coded, estimated, or rounded to a size."""

from taut.encoding.model import fill, predict_size, resolve_plan
from taut.encoding.tensor import Coded, Quantize, check_finite, check_schemes, encode_tensor

__all__ = [
    "Coded",
    "Quantize",
    "check_finite",
    "check_schemes",
    "encode_tensor",
    "fill",
    "predict_size",
    "resolve_plan",
]
