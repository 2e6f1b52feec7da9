"""Changes of the weights: a tensor and a scheme in, what is coded of it out."""

from laconic.transform.quantize import LAMBDA, Indices, quantize, sample_rows

__all__ = ["LAMBDA", "Indices", "quantize", "sample_rows"]
