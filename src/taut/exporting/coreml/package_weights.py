"""The weights of a Core ML package as they lie on the disk, and what PyTorch answers with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from taut.errors import VerifyError
from taut.exporting.coreml.coreml_packages import COREML
from taut.exporting.device.folded_program import Folded, exported_again
from taut.exporting.device.quiet_native import quiet_native
from taut.exporting.device.weight_grid import WeightGrid
from taut.exporting.onnx.answers import tensors
from taut.exporting.onnx.trace import widened
from taut.networks.calls import are_arguments

if TYPE_CHECKING:
    from taut.exporting.held_against import Answers

_CASTS: Final = ("_cast_fp16", "_to_fp16")  # what coremltools adds to names of float16
_INTEGERS: Final = "constexpr_affine_dequantize"
_HALF: Final = 2.0**-10  # of a scale, as float16 rounds it
_LEAST_HALF: Final = 2.0**-24


@dataclass(frozen=True)
class PackedWeight:
    """A weight's values float32 as a package has them, and its integers, if it has some."""

    values: NDArray[np.float32]
    integers: NDArray[np.int8] | None = None
    scales: NDArray[np.float32] | None = None


def read_weights(package: Path) -> dict[str, PackedWeight]:
    """The weights of a package by the names of the inputs that stand for them in the graph.

    Raises:
        VerifyError: it cannot be read.
    """
    tools = COREML.need("coremltools")
    reader = COREML.need("coremltools.converters.mil.frontend.milproto.load")
    try:
        with quiet_native():
            model = tools.models.MLModel(str(package), skip_model_load=True)
            spec = model.get_spec()
            program = reader.load(spec, spec.specificationVersion, model.weights_dir)
            operations = list(program.functions["main"].operations)
    except Exception as error:  # of its own kinds
        raise VerifyError(f"{package.name}: coremltools cannot read it back: {error}") from error
    found: dict[str, PackedWeight] = {}
    for operation in operations:
        name = operation.outputs[0].name
        for cast in _CASTS:
            name = name.removesuffix(cast)
        if operation.op_type == _INTEGERS:
            found[name] = _of_integers(operation)
        elif operation.op_type == "const" and _are_floats(operation.outputs[0].val):
            found.setdefault(name, PackedWeight(operation.outputs[0].val.astype(np.float32)))
    return found


def _are_floats(values: object) -> bool:
    return isinstance(values, np.ndarray) and values.ndim > 0 and values.dtype.kind == "f"


def _of_integers(operation: Any) -> PackedWeight:
    q, zeros = operation.quantized_data.val, np.asarray(operation.zero_point.val)
    scales = np.atleast_1d(operation.scale.val).astype(np.float32)
    shape = [-1 if at == int(operation.axis.val) else 1 for at in range(q.ndim)]
    around = q.astype(np.int32) - zeros.astype(np.int32).reshape(shape if zeros.ndim else [])
    return PackedWeight(around.astype(np.float32) * scales.reshape(shape), around, scales)


def check_integers(
    name: str, wanted: Mapping[str, WeightGrid], found: Mapping[str, PackedWeight]
) -> None:
    """Raise `VerifyError` unless the integers that a package has are those that it was given."""
    for given, grid in wanted.items():
        one = found.get(given)
        if one is None or one.integers is None or one.scales is None:
            continue  # joined with another operator: a float again, and counted as one
        near = np.allclose(one.scales, grid.scales, rtol=_HALF, atol=_LEAST_HALF)
        if not np.array_equal(one.integers, grid.values) or not near:
            raise VerifyError(f"{name}: weight {given} is not what was written when read back")


def answers_with(folded: Folded, found: Mapping[str, PackedWeight]) -> Answers:
    """What the network answers in PyTorch with the weights of a package."""
    import torch

    names = exported_again(folded).graph_signature.inputs_to_parameters
    shapes = {name: tuple(one.shape) for name, one in folded.module.named_parameters()}
    weights = {
        names[given]: torch.from_numpy(one.values)
        for given, one in found.items()
        if given in names and one.values.shape == shapes.get(names[given])
    }

    def answer(sample: object) -> list[np.ndarray]:
        batch: Any = widened(sample)
        args = () if isinstance(batch, Mapping) else batch if are_arguments(batch) else (batch,)
        kwargs = dict(batch) if isinstance(batch, Mapping) else {}
        with torch.no_grad():
            given = torch.func.functional_call(folded.module, weights, tuple(args), kwargs)
        return [one.numpy() for one in tensors(given)]

    return answer
