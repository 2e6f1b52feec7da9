"""What a compression cost and bought: scores, fidelity, speed, memory, energy, and the page."""

from taut.evaluate.energy import measure_energy
from taut.evaluate.fidelity import measure_fidelity
from taut.evaluate.memory import measure_memory
from taut.evaluate.metrics import score_outcome
from taut.evaluate.outcome import Outcome, read_outcome
from taut.evaluate.paired import compare_outcomes
from taut.evaluate.record import (
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
from taut.evaluate.speed import compare_speed

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
    "compare_speed",
    "measure_energy",
    "measure_fidelity",
    "measure_memory",
    "read_outcome",
    "score_outcome",
]
