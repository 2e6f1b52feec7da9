"""One model at many sizes: which points are asked for, what each gave, which of them are best."""

from taut.sweep.pareto import Frontier, Missed, Point, frontier_of

__all__ = ["Frontier", "Missed", "Point", "frontier_of"]
