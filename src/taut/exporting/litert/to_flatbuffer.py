"""From a folded network to a .tflite model: in floats, and rounded by AI Edge Quantizer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np

from taut.errors import ArgumentError
from taut.exporting.device.device_form import DeviceForm
from taut.exporting.device.folded_program import Folded
from taut.exporting.device.quiet_native import quiet_native
from taut.exporting.litert.litert_packages import LITERT
from taut.networks.calls import told

_SIGNATURE: Final = "serving_default"
_BITS: Final = 8


def float_model(folded: Folded) -> bytes:
    """The network as litert-torch converts it; integers of 64 bits become such of 32.

    Raises:
        ArgumentError: litert-torch cannot convert it.
    """
    import torch

    litert_torch = LITERT.need("litert_torch")
    try:
        with quiet_native(), torch.no_grad():
            found = litert_torch.convert(
                folded.module, folded.args or None, sample_kwargs=folded.kwargs or None
            )
            return bytes(found.model_content())
    except Exception as error:  # of PyTorch, MLIR or its own
        raise ArgumentError(
            f"litert-torch cannot convert the network: {told(error)}; what it has no operators for "
            "has to leave the forward"
        ) from error


def rounded_model(
    model: bytes, form: DeviceForm, feeds: Iterable[Mapping[str, np.ndarray]]
) -> bytes:
    """A model of floats with weights of 8 or 16 bits; `feeds` show the ranges of activations.

    Inputs and outputs stay floats.

    Raises:
        ArgumentError: AI Edge Quantizer cannot round it.
    """
    quantizer = LITERT.need("ai_edge_quantizer.quantizer")
    recipe = _recipe(form)
    try:
        with quiet_native():
            work = quantizer.Quantizer(bytearray(model), recipe)
            ranges = _ranges(model, recipe, feeds) if form.activations == "static" else None
            found = work.quantize(
                ranges, enable_progress_bar=False, enable_progress_report=False
            ).quantized_model
    except Exception as error:  # RuntimeError, ValueError and others
        raise ArgumentError(
            f"AI Edge Quantizer cannot round the network ({form.told}): {told(error)}; give other "
            "weights or activations"
        ) from error
    return bytes(found)


def _recipe(form: DeviceForm) -> list[dict[str, Any]]:
    """The quantizer's own description of a form, for all operators that have such kernels."""
    manager = LITERT.need("ai_edge_quantizer.recipe_manager")
    made = manager.RecipeManager()
    everything, names = LITERT.need("ai_edge_quantizer.qtyping").TFLOperationName, manager
    every = (".*", everything.ALL_SUPPORTED)
    if form.weights == "float16":
        casting = names.AlgorithmName.FLOAT_CASTING
        made.add_weight_only_config(*every, num_bits=2 * _BITS, algorithm_key=casting)
    elif form.activations == "none":
        made.add_weight_only_config(*every, num_bits=_BITS)
    elif form.activations == "dynamic":
        made.add_dynamic_config(*every, num_bits=_BITS)
    else:
        made.add_static_config(*every, activation_num_bits=_BITS, weight_num_bits=_BITS)
        for end in (everything.INPUT, everything.OUTPUT):
            made.add_quantization_config(".*", end, algorithm_key=names.AlgorithmName.NO_QUANTIZE)
    found: list[dict[str, Any]] = made.get_quantization_recipe()
    return found


def _ranges(
    model: bytes, recipe: list[dict[str, Any]], feeds: Iterable[Mapping[str, np.ndarray]]
) -> Any:
    """The least and largest of each value over all samples."""
    calibrator = LITERT.need("ai_edge_quantizer.calibrator")
    least = LITERT.need("ai_edge_quantizer.utils.qsv_utils").min_max_update
    manager = LITERT.need("ai_edge_quantizer.recipe_manager").RecipeManager()
    manager.load_quantization_recipe(recipe)
    work = calibrator.Calibrator(bytearray(model), num_threads=1, qsv_update_func=least)
    work.calibrate({_SIGNATURE: list(feeds)}, manager)  # it goes over them twice
    return work.get_model_qsvs()
