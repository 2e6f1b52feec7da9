"""NNCodec as a peer: one step for all tensors, or a step a tensor by its measured sensitivity.

A tensor multiplied by f before coding and divided after is a tensor whose step is 1/f of the
others'. The allocation is the one of rate-distortion theory at high rate: with a(t) the loss that
noise of unit variance in tensor t adds, and n(t) its values, f(t)^2 is proportional to a(t) / n(t).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from bench.frontier.shelf import Coded, Peer, is_matrix
from bench.lossy import nnc

if TYPE_CHECKING:
    from bench.subjects.subject import Batch, Subject

_PLAIN = (-34, -30, -26, -22, -18)  # quantisation parameters: from about 6 to 2 bits
_TUNED = (-29, -24, -19)
_NOISE = 0.1  # of a tensor's root mean square
_EVERY = 4  # calibration batches: sensitivities need few
_LEAST = 1e-3  # of the median: what calibration never sees is not thrown away


def peers() -> list[Peer]:
    """Return NNCodec's points; ImportError where it is not installed."""
    python = nnc.nncodec_python()
    if python is None:
        raise ImportError("NNCodec: not installed (set NNCODEC_PYTHON, see bench/README.md)")
    plain = [
        Peer(f"NNCodec qp {qp}, trellis", "NNCodec", partial(code, python, qp)) for qp in _PLAIN
    ]
    allocation = Allocation()
    return plain + [
        Peer(
            f"NNCodec qp {qp}, trellis, a step a tensor",
            "NNCodec, measured sensitivities",
            partial(code, python, qp, allocation=allocation),
            calibrated=True,
        )
        for qp in _TUNED
    ]


class Allocation:
    """Factors for the tensors of a subject; those of the last one asked for are kept."""

    def __init__(self) -> None:
        self._name = ""
        self._factors: dict[str, float] = {}

    def factors(self, subject: Subject) -> dict[str, float]:
        """Return f by tensor; its logarithm is zero on average over all values."""
        if self._name != subject.name:
            self._name, self._factors = subject.name, allocate(subject)
        return self._factors


def code(python: str, qp: int, subject: Subject, *, allocation: Allocation | None = None) -> Coded:
    """Code a model by NNCodec with its trellis; a factor is counted as four bytes."""
    factors = allocation.factors(subject) if allocation else {}
    scaled = {n: v * np.float32(factors.get(n, 1)) for n, v in subject.weights.items()}
    run = nnc.run(python, scaled, qp, trellis=True)
    decoded = {n: v / np.float32(factors.get(n, 1)) for n, v in run.decoded.items()}
    return Coded(decoded, run.nbytes + 4 * len(factors))


def allocate(subject: Subject) -> dict[str, float]:
    """Measure every matrix's sensitivity and return its factor."""
    network, batches = subject.module(), list(subject.calibration)[::_EVERY]
    harm, sizes = {}, {}
    with torch.inference_mode():
        before = [_output(network, batch) for batch in batches]
        for name in (n for n, values in subject.weights.items() if is_matrix(values)):
            weight = network.get_parameter(name)
            kept, sizes[name] = weight.clone(), weight.numel()
            variance = _NOISE**2 * float(kept.square().mean())
            noise = torch.randn(kept.shape, generator=torch.Generator().manual_seed(0))
            weight.add_(noise, alpha=variance**0.5)
            after = (_output(network, batch) for batch in batches)
            moved = (subject.distance(x, y) for x, y in zip(before, after, strict=True))
            harm[name] = sum(map(float, moved)) / variance
            weight.copy_(kept)
    return factors_of(harm, sizes)


def factors_of(harm: Mapping[str, float], sizes: Mapping[str, int]) -> dict[str, float]:
    """Turn the loss that unit variance adds to each tensor into factors."""
    least = _LEAST * float(np.median(list(harm.values())))
    logs = {n: 0.5 * np.log(max(h, least) / sizes[n]) for n, h in harm.items()}
    mean = sum(sizes[n] * log for n, log in logs.items()) / sum(sizes[n] for n in logs)
    return {n: float(np.exp(log - mean)) for n, log in logs.items()}


def _output(network: torch.nn.Module, batch: Batch) -> torch.Tensor:
    found: torch.Tensor = network(**batch) if isinstance(batch, dict) else network(batch)
    return found
