"""What a compression cost and bought besides its score: fidelity, speed, memory, energy."""

from taut.evaluation.energy import measure_energy
from taut.evaluation.fidelity import measure_fidelity
from taut.evaluation.memory import measure_memory
from taut.evaluation.speed import compare_speed

__all__ = ["compare_speed", "measure_energy", "measure_fidelity", "measure_memory"]
