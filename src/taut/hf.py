"""`import taut.hf` lets transformers open a Taut folder like any other (docs/loading.md)."""

from taut.loading.hf_quantizer import TautConfig, TautQuantizer

__all__ = ["TautConfig", "TautQuantizer"]
