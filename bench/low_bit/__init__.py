"""Low-bit checkpoints of a real model, bit-exact."""
