"""Which values of a graph are rounded, with observers whose scales are those of own integers.

PyTorch's quantiser asks an observer for the scale of each weight. Ours gives the divisor of all
values of a row where there is one, so that a weight's own integers are stored; else min-max.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any, Final, cast

from taut.exporting.device.device_form import DeviceForm
from taut.exporting.device.weight_grid import MOST, WeightGrid, weight_grid
from taut.exporting.executorch.executorch_packages import EXECUTORCH

if TYPE_CHECKING:
    import torch

_LEAST: Final = 2.0**-30  # of a scale of activations
# Layers that have kernels of integers for activations that are rounded as they come.
_DYNAMIC: Final = ("aten.conv1d.default", "aten.conv2d.default", "aten.linear.default")
_GROUPS: Final = 6  # where a convolution's arguments have them


def own_quantizer(form: DeviceForm, grids: list[WeightGrid]) -> Any:
    """The quantiser of a form; `grids` gets the grid of each weight, once it is asked for."""
    config = _config(form, grids)
    if form.activations == "static":
        xnnpack = EXECUTORCH.need("executorch.backends.xnnpack.quantizer.xnnpack_quantizer")
        return xnnpack.XNNPACKQuantizer().set_global(config)
    return _dynamic_quantizer(config)


def _config(form: DeviceForm, grids: list[WeightGrid]) -> Any:
    """int8 a channel for weights, int8 with a zero point for activations."""
    import torch

    kinds = EXECUTORCH.need("torchao.quantization.pt2e.quantizer")
    observers = EXECUTORCH.need("torchao.quantization.pt2e")
    dynamic = form.activations == "dynamic"
    observer = observers.PlaceholderObserver if dynamic else observers.MinMaxObserver
    activation = kinds.QuantizationSpec(
        dtype=torch.int8,
        quant_min=-MOST - 1,
        quant_max=MOST,
        qscheme=torch.per_tensor_affine,
        is_dynamic=dynamic,
        observer_or_fake_quant_ctr=observer.with_args(eps=_LEAST),
    )
    weight = kinds.QuantizationSpec(
        dtype=torch.int8,
        quant_min=-MOST,
        quant_max=MOST,
        qscheme=torch.per_channel_symmetric,
        ch_axis=0,
        observer_or_fake_quant_ctr=_weight_observer(grids).with_args(),
    )
    return kinds.QuantizationConfig(activation, None if dynamic else activation, weight, None)


def _weight_observer(grids: list[WeightGrid]) -> Any:
    """The class of observers that give a weight's own scales."""
    import torch

    observers = EXECUTORCH.need("torchao.quantization.pt2e")

    class OwnScales(observers.PerChannelMinMaxObserver):  # type: ignore[name-defined,misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.seen = x.detach()
            found: torch.Tensor = super().forward(x)
            return found

        def calculate_qparams(self) -> tuple[torch.Tensor, torch.Tensor]:
            grid = weight_grid(self.seen.float().numpy(), self.ch_axis)
            grids.append(grid)
            zeros = torch.zeros(len(grid.scales), dtype=torch.int64)
            return torch.from_numpy(grid.scales), zeros

    return OwnScales


def _dynamic_quantizer(config: Any) -> Any:
    """Rounds the weights of layers, and their inputs as they come.

    XNNPACK's own quantiser passes by layers that a Relu follows.
    """
    kinds = EXECUTORCH.need("torchao.quantization.pt2e.quantizer")

    class LayerInputs(kinds.Quantizer):  # type: ignore[name-defined,misc]
        def annotate(self, model: torch.fx.GraphModule) -> torch.fx.GraphModule:
            for node in model.graph.nodes:
                if _is_layer(model, node):
                    specs = {node.args[0]: config.input_activation, node.args[1]: config.weight}
                    node.meta["quantization_annotation"] = kinds.QuantizationAnnotation(
                        input_qspec_map=specs, _annotated=True
                    )
            return model

        def validate(self, model: torch.fx.GraphModule) -> None:
            pass

    return LayerInputs()


def _is_layer(model: torch.fx.GraphModule, node: Any) -> bool:
    """Whether a node is a layer with a constant weight, and of one group of several channels.

    A convolution of one input channel is one of as many groups as channels to XNNPACK.
    """
    if str(node.target) not in _DYNAMIC or node.args[1].op != "get_attr":
        return False
    if "linear" in str(node.target):
        return True
    groups = node.args[_GROUPS] if len(node.args) > _GROUPS else 1
    weight = reduce(getattr, str(node.args[1].target).split("."), cast("Any", model))
    return bool(groups == 1 and weight.shape[1] > 1)
