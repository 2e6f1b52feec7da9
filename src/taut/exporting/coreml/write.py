"""A network as a Core ML package, read back from the disk: Apple's systems alone run it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from taut.exporting.coreml.package_weights import (
    PackedWeight,
    answers_with,
    check_integers,
    read_weights,
)
from taut.exporting.coreml.to_package import write_package
from taut.exporting.device.device_form import DeviceForm, float_notes
from taut.exporting.device.folded_program import Folded
from taut.exporting.device.single_samples import Samples
from taut.exporting.device.weight_grid import WeightGrid
from taut.exporting.held_against import WrittenModel
from taut.exporting.onnx.onnx_form import Placed

_NOT_RUN = (
    "not run: Core ML's models run on Apple's systems alone; its weights were read back, and the "
    "check ran them in PyTorch: try it on a device before you ship it"
)


def write_coreml(folded: Folded, samples: Samples, form: DeviceForm, path: Path) -> Placed:
    """Convert a folded network, its weights in a form, into the folder `path`, and read it back.

    Raises:
        ArgumentError: coremltools cannot convert it.
        VerifyError: the package's weights are not those that were to be written.
    """
    constants = folded.constants()
    grids = write_package(folded, form, path)
    found = read_weights(path)
    check_integers(path.name, grids, found)
    if form.weights != "int8":
        lost = len(constants) if form.weights == "float16" else 0
        return Placed(len(constants) - lost, lost, (_NOT_RUN,))
    return _counted(folded, grids, found)


def _counted(
    folded: Folded, grids: Mapping[str, WeightGrid], found: Mapping[str, PackedWeight]
) -> Placed:
    """What became of a network's constants in a package of integers."""
    constants = folded.constants()
    integers = {name: one for name, one in found.items() if one.integers is not None}
    kept = [name for name in integers if name in grids and grids[name].own]
    exact = [name for name in kept if _same(integers[name].scales, grids[name].scales)]
    sizes = [one.numel() for one in constants if one.ndim > 1]
    notes = (_NOT_RUN, *float_notes(sizes, len(integers)), *_halved(len(kept) - len(exact)))
    return Placed(len(exact), len(constants) - len(exact), notes)


def _halved(count: int) -> list[str]:
    """A note on weights whose scales float16 rounds."""
    if not count:
        return []
    return [
        f"{count} weights have their own integers, and scales in float16, as Apple's Neural Engine "
        "takes them"
    ]


def _same(found: np.ndarray | None, wanted: np.ndarray) -> bool:
    return found is not None and np.array_equal(found, wanted)


def opened_coreml(path: Path, folded: Folded) -> WrittenModel:
    """A package for the check: PyTorch with its integers and scales, as they were read back."""
    return WrittenModel(
        path.name,
        "PyTorch with the package's weights (Core ML does not run here)",
        answers_with(folded, read_weights(path)),
    )
