"""From a folded network to Core ML's package, its int8 weights on the grids that we found.

coremltools makes integers of a weight itself where the network's state names their scale, under
keys that begin with `_COREML_`.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from taut.errors import ArgumentError
from taut.exporting.coreml.coreml_packages import COREML
from taut.exporting.device.device_form import DeviceForm
from taut.exporting.device.folded_program import Folded, exported_again
from taut.exporting.device.quiet_native import quiet_native
from taut.exporting.device.weight_grid import WeightGrid, weight_grid
from taut.networks.calls import told

if TYPE_CHECKING:
    import torch

_QUANTIZED: Final = 3  # coremltools' number for weights of integers
_BITS: Final = 8
_MANIFEST: Final = ("Manifest.json", "Data")  # what a package consists of


def write_package(folded: Folded, form: DeviceForm, folder: Path) -> dict[str, WeightGrid]:
    """Fill a folder, which is there and empty, with a package; the grids of int8 weights.

    They go by the names of the graph's inputs that stand for them.

    Raises:
        ArgumentError: coremltools cannot convert the network.
    """
    tools = COREML.need("coremltools")
    precision = tools.precision.FLOAT32 if form.weights == "float32" else tools.precision.FLOAT16
    try:
        with quiet_native():
            program = exported_again(folded).run_decompositions({})
            grids = _grids(program) if form.weights == "int8" else {}
            _declare(program, grids)
            made = tools.convert(
                program,
                minimum_deployment_target=tools.target.iOS17,
                compute_precision=precision,
                skip_model_load=True,
            )
            beside = folder.with_name(f"made-{folder.name}")
            made.save(str(beside))
    except Exception as error:  # of PyTorch or of many kinds of its own
        raise ArgumentError(
            f"coremltools cannot convert the network: {told(error)}; what it has no operators for "
            "has to leave the forward"
        ) from error
    for name in _MANIFEST:
        shutil.move(beside / name, folder / name)
    shutil.rmtree(beside)
    return grids


def _grids(program: torch.export.ExportedProgram) -> dict[str, WeightGrid]:
    """The grids of matrices and kernels that are parameters, by the inputs that stand for them."""
    names = program.graph_signature.inputs_to_parameters
    held = {given: program.state_dict[name].detach() for given, name in names.items()}
    axes = _axes(program)
    return {
        given: weight_grid(one.float().numpy(), axes.get(given, 0))
        for given, one in held.items()
        if one.ndim > 1 and one.is_floating_point()
    }


def _axes(program: torch.export.ExportedProgram) -> dict[str, int]:
    """The axis of the outputs, of weights whose first axis is another: transposed convolutions'."""
    turned = [node for node in program.graph.nodes if _is_transposed(node)]
    return {node.args[1].name: 1 for node in turned}


def _is_transposed(node: Any) -> bool:
    """Whether a node is a transposed convolution, before or after decomposition."""
    kind = str(node.target)
    return "conv_transpose" in kind or (kind == "aten.convolution.default" and bool(node.args[6]))


def _declare(program: torch.export.ExportedProgram, grids: Mapping[str, WeightGrid]) -> None:
    """Tell coremltools the scales of weights, in the program's own state."""
    import torch

    state: Any = program.state_dict
    for given, grid in grids.items():
        place, dot, last = program.graph_signature.inputs_to_parameters[given].rpartition(".")
        key = f"{place}{dot}_COREML_/{last}/"
        shape = [-1 if at == grid.axis else 1 for at in range(grid.values.ndim)]
        state[f"{key}compression_type"] = torch.tensor([_QUANTIZED])
        state[f"{key}quantization_n_bits"] = torch.tensor(_BITS)
        state[f"{key}quantization_scale"] = torch.from_numpy(grid.scales).reshape(shape)
