"""What a compression cost and bought: scores, fidelity, speed, memory, energy, and the page."""

from laconic.evaluate.energy import measure_energy
from laconic.evaluate.fidelity import measure_fidelity
from laconic.evaluate.memory import measure_memory
from laconic.evaluate.metrics import score_outcome
from laconic.evaluate.outcome import Outcome, read_outcome
from laconic.evaluate.paired import compare_outcomes
from laconic.evaluate.record import (
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
from laconic.evaluate.speed import compare_speed

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
