"""What can be learnt of a model before its weights are changed."""

from taut.analysis._kept_blocks import Pieces
from taut.analysis.curvature import Curvature, collect

__all__ = ["Curvature", "Pieces", "collect"]
