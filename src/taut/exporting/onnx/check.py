"""The written graph in onnxruntime, held against the module it came from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from taut.errors import ArgumentError, VerifyError
from taut.exporting.onnx.trace import widened
from taut.exporting.result import Check
from taut.networks.calls import applied, evaluating
from taut.networks.onnx_packages import need
from taut.networks.onnx_session import feed, open_session
from taut.networks.precision import in_single

if TYPE_CHECKING:
    import torch

_CLIPPED: Final = 5e-3  # of the output's power; roundings that fall the other way stay below
_FLOOR: Final = 0.5  # a cosine below which an answer is none


def check_onnx(
    path: Path, module: torch.nn.Module, batches: Iterable[object], *, floor: float = _FLOOR
) -> Check:
    """Run both on the batches, in float32; a sample is an entry of an output's first axis.

    Raises:
        VerifyError: the runtime's answer has another shape, is not finite where the module's
            is, or its mean cosine with the module's is below `floor`.
        ArgumentError: there is no batch, or onnxruntime does not take the graph.
    """
    ort = need("onnxruntime")
    most = missed = power = 0.0
    cosines: list[np.ndarray] = []
    samples = 0
    for wanted, found in _answers(path, module, batches):
        samples += len(wanted[0]) if wanted and wanted[0].ndim else 1
        for index, (ours, theirs) in enumerate(zip(wanted, found, strict=True)):
            x, y = _rows(path, index, ours, theirs)
            most = max(most, float(np.abs(x - y).max(initial=0)))
            missed += float(np.square(x - y).sum())
            power += float(np.square(x).sum())
            cosines.append(_cosine(x, y))
    if not cosines:
        raise ArgumentError("the check takes at least one batch; none was given")
    cosine = float(np.mean(np.concatenate(cosines)))
    if cosine < floor:
        raise VerifyError(
            f"{path.name}: onnxruntime's answer has a cosine of {cosine:.3f} with the module's; "
            "keep more bits, or calibrate on data like the module's own"
        )
    return Check(
        runtime=f"onnxruntime {ort.__version__}",
        samples=samples,
        max_error=most,
        rel_mse=missed / power if power else missed,
        cosine=cosine,
    )


def _answers(
    path: Path, module: torch.nn.Module, batches: Iterable[object]
) -> Iterator[tuple[list[np.ndarray], list[np.ndarray]]]:
    """What module and runtime give of each batch, an array an output."""
    need("torch")
    import torch

    try:
        session = open_session(path)
    except Exception as error:
        line = str(error).splitlines()[0]
        raise ArgumentError(f"{path.name}: onnxruntime does not take the graph: {line}") from error
    given = map(widened, batches)
    first = list(islice(given, 1))
    module = in_single(module, lambda: first)
    for batch in chain(first, given):
        with evaluating(module), torch.no_grad():
            wanted = [t.float().cpu().numpy() for t in tensors(applied(module, batch))]
        found = session.run(None, feed(session, batch))
        if len(found) != len(wanted):
            raise VerifyError(f"{path.name}: has {len(found)} outputs, not {len(wanted)}")
        yield wanted, found


def find_clipping(path: Path, batch: object) -> list[str]:
    """A note where the runtime's integer kernels give something else than the graph says.

    The same graph runs with every node by itself, in floats: the kernels may differ from it by
    roundings, and by sums that did not fit.
    """
    answers = []
    for fused in (False, True):
        session = open_session(path, fused=fused)
        answers.append(session.run(None, feed(session, batch)))
    pairs = [(x.astype(np.float64), y.astype(np.float64)) for x, y in zip(*answers, strict=True)]
    power = sum(float(np.square(x).sum()) for x, _ in pairs)
    missed = sum(float(np.square(x - y).sum()) for x, y in pairs)
    if missed <= _CLIPPED * power:
        return []
    return [
        f"this machine's integer kernels are off by {missed / max(power, 1e-300):.2g} of the "
        "output's power; sums of products clip: calibrate on more data, or give activations dynamic"
    ]


def tensors(answer: object) -> Iterator[torch.Tensor]:
    """The tensors of a module's answer, in the order in which it gives them."""
    import torch

    if isinstance(answer, torch.Tensor):
        yield answer
    elif isinstance(answer, Mapping):
        for value in answer.values():
            yield from tensors(value)
    elif isinstance(answer, tuple | list):
        for value in answer:
            yield from tensors(value)


def _rows(
    path: Path, index: int, ours: np.ndarray, theirs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64, a sample a row; infinities that both have count as equal."""
    if ours.shape != theirs.shape:
        raise VerifyError(
            f"{path.name}: output {index} is {list(theirs.shape)}, not {list(ours.shape)}"
        )
    x, y = ours.astype(np.float64), theirs.astype(np.float64)
    odd = ~np.isfinite(x)
    if not np.isfinite(y[~odd]).all():
        raise VerifyError(
            f"{path.name}: output {index} is not finite in onnxruntime; float16 and integers "
            "reach less far than float32: give another kind of weights"
        )
    x[odd] = y[odd] = 0
    shape = (len(x), -1) if x.ndim > 1 else (1, -1)
    return x.reshape(shape), y.reshape(shape)


def _cosine(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    size = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    same = np.where((x == y).all(axis=1), 1.0, 0.0)
    found: np.ndarray = np.where(size > 0, (x * y).sum(axis=1) / np.maximum(size, 1e-300), same)
    return found
