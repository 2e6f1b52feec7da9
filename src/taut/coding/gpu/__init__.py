"""Coded arrays decoded on a GPU, by kernels in Triton; entered inside functions."""

from taut.coding.gpu.batch import GpuBatch, GpuJob

__all__ = ["GpuBatch", "GpuJob"]
