"""Which tensors of a checkpoint are low-bit weights: by the method that its config names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from taut.errors import FormatError
from taut.io.quantized.bitsandbytes import bitsandbytes_weights, has_states
from taut.io.quantized.compressed_tensors import compressed_weights
from taut.io.quantized.declared import Declared
from taut.io.quantized.four_bit_floats import modelopt_weights, mxfp4_weights
from taut.io.quantized.gptq import awq_weights, gptq_weights
from taut.io.quantized.quantized_weight import QuantizedWeight, Tensors
from taut.io.quantized.scaled import fp8_weights

METHODS: Final[Mapping[str, Callable[[Tensors, Declared], Iterator[QuantizedWeight]]]] = {
    "fp8": fp8_weights,
    "fbgemm_fp8": fp8_weights,
    "modelopt": modelopt_weights,
    "modelopt_fp4": modelopt_weights,
    "mxfp4": mxfp4_weights,
    "compressed-tensors": compressed_weights,
    "gptq": gptq_weights,
    "awq": awq_weights,
    "bitsandbytes": bitsandbytes_weights,
}
"""What is read as floats, by the quant_method of a config."""

STATES: Final = Declared("bitsandbytes", {"quant_method": "bitsandbytes"}, None, "its states")
"""What states of bitsandbytes say by themselves."""


def recognise(tensors: Tensors, declared: Declared | None) -> tuple[QuantizedWeight, ...]:
    """The low-bit weights of a checkpoint, in its order; none where nothing says that there are.

    States of bitsandbytes say so themselves; of all else a config must.

    Raises:
        FormatError: the method is unknown, its weights are not there, or parts are missing or do
            not fit; the message names the tensor.
    """
    if declared is None:
        if not has_states(tensors):
            return ()
        declared = STATES
    reader = METHODS.get(declared.method)
    if reader is None:
        raise FormatError(
            f'{declared.where}: weights quantized by "{declared.method:.40}" are not read as '
            f"floats; those that are: {', '.join(METHODS)}; compress the model bit-exact, as it is"
        )
    found = tuple(reader(tensors, declared))
    if not found:
        raise FormatError(
            f"{declared.where}: says that weights are quantized by {declared.method}, and no "
            f"tensor of {tensors.where} is; take quantization_config out if they are floats"
        )
    _check_apart(tensors, found)
    return found


def _check_apart(tensors: Tensors, found: tuple[QuantizedWeight, ...]) -> None:
    """No tensor is part of two weights, and none has the name of a weight's floats."""
    owner: dict[str, str] = {}
    for weight in found:
        for part in weight.parts:
            first = owner.setdefault(part, weight.info.name)
            if first != weight.info.name:
                raise tensors.wrong(part, f'is a part of "{first}" and of "{weight.info.name}"')
