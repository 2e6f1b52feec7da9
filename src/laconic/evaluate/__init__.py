"""What a compression cost and bought: scores, fidelity, speed, memory, energy, and the page."""
