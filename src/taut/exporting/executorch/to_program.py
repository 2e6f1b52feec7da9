"""From a folded network to ExecuTorch's program, which XNNPACK's kernels carry out."""

from __future__ import annotations

from typing import Any

from taut.errors import ArgumentError
from taut.exporting.device.device_form import DeviceForm
from taut.exporting.device.folded_program import Folded, exported_again
from taut.exporting.device.quiet_native import quiet_native
from taut.exporting.device.single_samples import Samples
from taut.exporting.device.weight_grid import WeightGrid
from taut.exporting.executorch.executorch_packages import EXECUTORCH
from taut.exporting.executorch.own_observers import own_quantizer
from taut.networks.calls import applied, told


def rounded_graph(
    folded: Folded, samples: Samples, form: DeviceForm
) -> tuple[Folded, list[WeightGrid]]:
    """The graph with nodes that round, and the grid of each weight; ranges are min-max.

    Raises:
        ArgumentError: PyTorch's quantiser cannot round it.
    """
    import torch

    steps = EXECUTORCH.need("torchao.quantization.pt2e.quantize_pt2e")
    grids: list[WeightGrid] = []
    try:
        with quiet_native(), torch.no_grad():
            graph = exported_again(folded).module()
            graph = steps.prepare_pt2e(graph, own_quantizer(form, grids))
            for sample in samples.data if form.activations == "static" else (samples.example,):
                applied(graph, sample)
            graph = steps.convert_pt2e(graph)
    except Exception as error:  # of many kinds
        raise ArgumentError(
            f"PyTorch's quantiser cannot round the network ({form.told}): {told(error)}; give "
            "other weights or activations"
        ) from error
    return Folded(graph, folded.args, folded.kwargs, folded.norms), grids


def program_bytes(folded: Folded) -> bytes:
    """A .pte program.

    Raises:
        ArgumentError: ExecuTorch has no operators for it.
    """
    import torch

    exir = EXECUTORCH.need("executorch.exir")
    xnnpack = EXECUTORCH.need("executorch.backends.xnnpack.partition.xnnpack_partitioner")
    try:
        with quiet_native(), torch.no_grad():
            lowered: Any = exir.to_edge_transform_and_lower(
                exported_again(folded), partitioner=[xnnpack.XnnpackPartitioner()]
            )
            return bytes(lowered.to_executorch().buffer)
    except Exception as error:  # of many kinds
        raise ArgumentError(
            f"ExecuTorch cannot convert the network: {told(error)}; what it has no operators for "
            "has to leave the forward; with --calib, activations static (--activations) have more"
        ) from error
