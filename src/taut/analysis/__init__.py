"""What can be learnt of a model before its weights are changed."""

from taut.analysis._kept_blocks import GRADIENTS, Pieces
from taut.analysis.curvature import Curvature, collect

__all__ = ["GRADIENTS", "Curvature", "Pieces", "collect"]
