"""Hostile arrays on their way to a GPU: what the CPU refuses is never decoded there."""

from __future__ import annotations

import numpy as np
import pytest

from taut import _core
from taut.coding import encode_lossless

from .test_streams import HEADERS

torch = pytest.importorskip("torch")
SIZES = (0, 360_000, 1 << 20, 1 << 48)


@pytest.mark.parametrize("nbytes", SIZES)
def test_a_header_that_lies_is_refused_or_small(nbytes: int) -> None:
    """Before there is memory for what it claims, and whatever number of chunks comes with it."""
    for lie in HEADERS.values():
        for chunks in (0, 1, 2):
            try:
                found = _core.device_header(np.frombuffer(lie, np.uint8), nbytes, chunks)
            except _core.CoreFormatError:
                continue
            assert found["chunks"] == chunks and found["count"] * found["width"] == nbytes
            assert sum(len(one) for one in found.values() if isinstance(one, bytes)) < 1 << 23


def test_jobs_that_lie_are_left_to_the_cpu() -> None:
    pytest.importorskip("triton", reason="triton is not installed")
    from taut.coding.gpu import GpuBatch, GpuJob

    values = np.random.default_rng(0).standard_normal((30, 300)).astype(np.float16)
    sound = encode_lossless(values)
    (chunk,) = sound.chunks
    jobs = [GpuJob(lie, [chunk], nbytes) for lie in HEADERS.values() for nbytes in SIZES]
    jobs += [
        GpuJob(sound.header, [chunk[:cut]], values.nbytes)
        for cut in (0, 1, 3, 10, 300, len(chunk) - 1)
    ]
    jobs += [GpuJob(sound.header, [b"\xff" * n], values.nbytes) for n in (1, 9, 12, 1000)]
    jobs += [GpuJob(sound.header, [chunk, chunk], values.nbytes)]
    assert GpuBatch(jobs, torch.device("cpu")).decode() == [None] * len(jobs)
