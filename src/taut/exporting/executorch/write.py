"""A network as a .pte file, run in ExecuTorch against the network before it gets its name."""

from __future__ import annotations

from pathlib import Path

from taut.exporting.device.device_form import DeviceForm, float_notes
from taut.exporting.device.folded_program import Folded
from taut.exporting.device.single_samples import Samples
from taut.exporting.executorch.to_program import program_bytes, rounded_graph
from taut.exporting.onnx.onnx_form import Placed


def write_executorch(folded: Folded, samples: Samples, form: DeviceForm, path: Path) -> Placed:
    """Round a folded network to a form, convert it, and write it to `path`.

    Raises:
        ArgumentError: PyTorch's quantiser or ExecuTorch cannot take the network.
    """
    constants = folded.constants()
    if form.weights == "float32":
        path.write_bytes(program_bytes(folded))
        return Placed(len(constants), 0)
    rounded, grids = rounded_graph(folded, samples, form)
    path.write_bytes(program_bytes(rounded))
    lost = sum(not grid.own for grid in grids)
    notes = float_notes([one.numel() for one in constants if one.ndim > 1], len(grids))
    return Placed(len(constants) - lost, lost, notes)
