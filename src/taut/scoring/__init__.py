"""Scores: what the user's function gave, as metrics with intervals, and paired comparisons."""

from taut.scoring.metrics import score_outcome
from taut.scoring.outcome import Outcome, read_outcome
from taut.scoring.paired import compare_outcomes
from taut.scoring.results import (
    Energy,
    Evaluation,
    Fidelity,
    LayerFidelity,
    Memory,
    Metric,
    Paired,
    Scores,
    Speed,
    Subject,
)

__all__ = [
    "Energy",
    "Evaluation",
    "Fidelity",
    "LayerFidelity",
    "Memory",
    "Metric",
    "Outcome",
    "Paired",
    "Scores",
    "Speed",
    "Subject",
    "compare_outcomes",
    "read_outcome",
    "score_outcome",
]
