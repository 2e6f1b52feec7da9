"""The written graph in onnxruntime, held against what it came from, output by output."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from taut.errors import VerifyError
from taut.exporting.held_against import FAR, FLOOR, Answers, WrittenModel, held_against
from taut.exporting.onnx.answers import flat, of_graph, of_module
from taut.exporting.result import Check
from taut.networks.onnx_packages import need
from taut.networks.onnx_session import feed, open_session

if TYPE_CHECKING:
    import torch

_CLIPPED: Final = 5e-3  # of the output's power; roundings that fall the other way stay below


def check_onnx(
    path: Path, module: torch.nn.Module, batches: Iterable[object], *, floor: float = FLOOR
) -> Check:
    """Run file and module on the batches, in float32; a sample is an entry of the first axis.

    Raises:
        VerifyError: the runtime's answer has another shape, is not finite where the module's
            is, its mean cosine with the module's is below `floor`, or an output's relative error
            is above .9.
        ArgumentError: there is no batch, or onnxruntime does not take the graph.
    """
    found = compare(path, of_module(module), batches)
    refuse_other(path, found, floor=floor)
    return found


def refuse_other(path: Path, found: Check, *, floor: float = FLOOR) -> None:
    """Raise `VerifyError` where an answer is another in direction or in size."""
    help_ = (
        "keep more bits, calibrate on data like the module's own, or give max_error "
        "(--max-error), which leaves the worst layers float"
    )
    if found.cosine < floor:
        raise VerifyError(
            f"{path.name}: onnxruntime's answer has a cosine of {found.cosine:.3f} with the "
            f"module's; {help_}"
        )
    if found.relative is not None and found.relative > FAR:
        raise VerifyError(
            f"{path.name}: onnxruntime's answer has a relative error of {found.relative:.2f} in an "
            f"output, of which {FAR} is the most that is let pass; {help_}"
        )


def compare(path: Path, answers: Answers, batches: Iterable[object]) -> Check:
    """How far a written graph's answers are from `answers`, refusing only what cannot be compared.

    Raises:
        as `held_against`.
    """
    ort = need("onnxruntime")
    written = WrittenModel(path.name, f"onnxruntime {ort.__version__}", of_graph(path))
    return held_against(written, answers, batches)


def find_clipping(path: Path, batch: object) -> list[str]:
    """A note where the runtime's integer kernels give something else than the graph says.

    The same graph runs with every node by itself, in floats: the kernels may differ from it by
    roundings, and by sums that did not fit.
    """
    runs = []
    for fused in (False, True):
        session = open_session(path, fused=fused)
        found = flat(session.run(None, feed(session, batch)))
        runs.append([values.astype(np.float64) for values in found if values.dtype.kind == "f"])
    power = sum(float(np.square(x).sum()) for x in runs[0])
    missed = sum(float(np.square(x - y).sum()) for x, y in zip(*runs, strict=True))
    if missed <= _CLIPPED * power:
        return []
    return [
        f"this machine's integer kernels are off by {missed / max(power, 1e-300):.2g} of the "
        "output's power; sums of products clip: calibrate on more data, or give activations dynamic"
    ]
