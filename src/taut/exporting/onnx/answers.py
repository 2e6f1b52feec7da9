"""What a network or a graph answers, as plain arrays: tensors, sequences and maps alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from taut.errors import ArgumentError
from taut.exporting.held_against import Answers
from taut.exporting.onnx.trace import widened
from taut.networks.calls import applied, evaluating, explained
from taut.networks.onnx_packages import need
from taut.networks.onnx_session import feed, open_session
from taut.networks.precision import in_single

if TYPE_CHECKING:
    import torch
    from onnxruntime import InferenceSession


def of_module(module: torch.nn.Module) -> Answers:
    """What a module in evaluation mode gives, in float32."""
    need("torch")
    import torch

    single: torch.nn.Module | None = None

    def answer(batch: object) -> list[np.ndarray]:
        nonlocal single
        given = widened(batch)
        if single is None:
            single = in_single(module, lambda: [given])
        with evaluating(single), torch.no_grad():
            return [_plain(tensor) for tensor in tensors(applied(single, given))]

    return answer


def _plain(tensor: torch.Tensor) -> np.ndarray:
    found: np.ndarray = (tensor.float() if tensor.is_floating_point() else tensor).cpu().numpy()
    return found


def of_graph(path: Path) -> Answers:
    """What an .onnx file gives in onnxruntime.

    Raises:
        ArgumentError: onnxruntime does not take it.
    """
    try:
        session = open_session(path)
    except Exception as error:  # onnxruntime's own kinds
        line = str(error).splitlines()[0]
        raise ArgumentError(f"{path.name}: onnxruntime does not take the graph: {line}") from error
    names = [output.name for output in session.get_outputs()]

    def answer(batch: object) -> list[np.ndarray]:
        return list(flat(run_on(session, path.name, feed(session, widened(batch)), names)))

    return answer


def run_on(
    session: InferenceSession, where: str, given: Mapping[str, np.ndarray], names: Sequence[str]
) -> list[object]:
    """What a session gives of a batch.

    Raises:
        ArgumentError: onnxruntime does not take the batch; the message tells its shapes.
    """
    with explained(f"{where}: onnxruntime does not run it", given):
        found: list[object] = session.run(list(names), dict(given))
    return found


def flat(found: object) -> Iterator[np.ndarray]:
    """The arrays of what onnxruntime gives: of a sequence each one, of maps their values by key."""
    if isinstance(found, Mapping):
        yield np.asarray([found[key] for key in sorted(found)])
    elif isinstance(found, list | tuple):
        yield from _flat_list(found)
    elif found is not None:  # as an optional output may be
        values = np.asarray(found)
        narrow = values.dtype.kind == "f" and values.dtype.itemsize < 4
        yield values.astype(np.float32) if narrow else values


def _flat_list(found: Sequence[Any]) -> Iterator[np.ndarray]:
    if len(found) > 0 and all(isinstance(one, Mapping) for one in found):  # as ZipMap's, a sample
        yield np.asarray([[one[key] for key in sorted(one)] for one in found])
    else:
        for one in found:
            yield from flat(one)


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
