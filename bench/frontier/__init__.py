"""Bits against fidelity of calibrated compression, beside peers that round."""
