"""Coding with loss and without calibration data, beside peers and theory."""
