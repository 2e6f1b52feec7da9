"""A model's matrices in low-bit formats, made by the libraries that write them.

Scales are those of the largest value of a group, as round-to-nearest recipes have them. GPTQ and
AWQ have no writer that is light: their words are made from the definition of the layouts, with
integers and zero points of least and largest values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import torch

    Make: TypeAlias = Callable[[torch.Tensor], dict[str, torch.Tensor]]

Settings: TypeAlias = "dict[str, object]"


def formats() -> Mapping[str, tuple[Settings, Make]]:
    """The settings of each format, and what makes the tensors of a weight (rows, columns)."""
    found: dict[str, tuple[Settings, Make]] = {
        "FP8, blocks of 64x64": (
            {"quant_method": "fp8", "weight_block_size": [64, 64]},
            fine_grained,
        ),
        "FP8, a scale a row": packed("float-quantized", 8, "float", None),
        "int8, a scale a row": packed("int-quantized", 8, "int", None),
        "int4, groups of 64 (compressed-tensors)": packed("pack-quantized", 4, "int", 64),
        "NVFP4": packed("nvfp4-pack-quantized", 4, "float", 16),
        "MXFP4": packed("mxfp4-pack-quantized", 4, "float", 32),
        "GPTQ int4, groups of 64": ({"quant_method": "gptq", "bits": 4, "group_size": 64}, gptq),
        "AWQ int4, groups of 64": ({"quant_method": "awq", "bits": 4, "group_size": 64}, awq),
    }
    try:
        import bitsandbytes  # noqa: F401
    except ImportError:
        return found
    for kind in ("nf4", "fp4"):
        settings = {"quant_method": "bitsandbytes", "load_in_4bit": True}
        found[f"{kind.upper()} (bitsandbytes)"] = (settings, four_bits(kind, nested=False))
        found[f"{kind.upper()}, nested (bitsandbytes)"] = (settings, four_bits(kind, nested=True))
    settings = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    found["int8 (bitsandbytes)"] = (settings, eight_bits)
    return found


def fine_grained(weight: torch.Tensor) -> dict[str, torch.Tensor]:
    """FP8 in blocks, by transformers."""
    from types import SimpleNamespace

    from transformers.integrations.finegrained_fp8 import Fp8Quantize

    asked = SimpleNamespace(weight_block_size=[64, 64], scale_fmt=None)
    maker = Fp8Quantize(SimpleNamespace(quantization_config=asked))
    return dict(maker._quantize_one("weight", weight))


def packed(format_: str, bits: int, kind: str, group: int | None) -> tuple[Settings, Make]:
    """A format of compressed-tensors, and what makes a weight in it."""
    strategy = "channel" if group is None else "group"
    if format_.startswith("nvfp4"):
        strategy = "tensor_group"
    weights = {"num_bits": bits, "type": kind, "strategy": strategy, "group_size": group}
    settings: Settings = {
        "quant_method": "compressed-tensors",
        "format": format_,
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}},
    }

    def make(weight: torch.Tensor) -> dict[str, torch.Tensor]:
        import torch
        from compressed_tensors.compressors import BaseCompressor
        from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme

        args = QuantizationArgs(**weights)
        rows, columns = weight.shape
        largest = weight.float().reshape(rows, -1, group or columns).abs().amax(2)
        top = {"int": 2 ** (bits - 1) - 1, "float": 448 if bits == 8 else 6}[kind]
        scale, state = largest / top, {"weight": weight}
        if format_.startswith("nvfp4"):
            state["weight_global_scale"] = torch.tensor([448 * 6.0]) / largest.max()
            scale = scale * state["weight_global_scale"]
        if format_.startswith("mxfp4"):
            scale = 2.0 ** (torch.floor(torch.log2(largest)) - 2)
        state["weight_scale"] = scale.to(weight.dtype)
        compressor = BaseCompressor.get_value_from_registry(format_)
        scheme = QuantizationScheme(targets=["Linear"], weights=args)
        return dict(compressor.compress(state, scheme))

    return settings, make


def gptq(weight: torch.Tensor) -> dict[str, torch.Tensor]:
    """Words of eight inputs, zero points less one, by the layout's definition."""
    import torch

    q, zeros, scales = _asymmetric(weight)
    return {
        "qweight": torch.from_numpy(_words(q).T.copy()),
        "qzeros": torch.from_numpy(_words((zeros - 1 & 15).T)),
        "scales": scales,
        "g_idx": (torch.arange(weight.shape[1]) // 64).int(),
    }


def awq(weight: torch.Tensor) -> dict[str, torch.Tensor]:
    """Words of eight outputs in AWQ's order, by the layout's definition."""
    import torch

    q, zeros, scales = _asymmetric(weight)
    order = [0, 2, 4, 6, 1, 3, 5, 7]

    def words(values: np.ndarray) -> torch.Tensor:
        eights = values.reshape(len(values), -1, 8)[:, :, order]
        return torch.from_numpy(_words(eights.reshape(values.shape)))

    return {"qweight": words(q.T.copy()), "qzeros": words(zeros.T.copy()), "scales": scales}


def four_bits(kind: str, *, nested: bool) -> Make:
    """What makes a weight of NF4 or FP4 with its state, by bitsandbytes."""

    def make(weight: torch.Tensor) -> dict[str, torch.Tensor]:
        import bitsandbytes.functional as bits

        codes, state = bits.quantize_4bit(
            weight, blocksize=64, quant_type=kind, compress_statistics=nested
        )
        tensors = {f"weight.{name}": one for name, one in state.as_dict(packed=True).items()}
        return {"weight": codes, **tensors}

    return make


def eight_bits(weight: torch.Tensor) -> dict[str, torch.Tensor]:
    """int8 with the largest value of each row, by bitsandbytes."""
    import bitsandbytes.functional as bits
    import torch

    codes, largest, _ = bits.int8_vectorwise_quant(weight.half())
    return {"weight": codes, "SCB": largest, "weight_format": torch.tensor(0, dtype=torch.uint8)}


def _asymmetric(weight: torch.Tensor) -> tuple[np.ndarray, np.ndarray, torch.Tensor]:
    """Integers (outputs, inputs), zero points (outputs, groups) and scales (groups, outputs)."""
    rows, columns = weight.shape
    groups = weight.float().reshape(rows, columns // 64, 64)
    low, high = groups.amin(2).clamp(max=0), groups.amax(2).clamp(min=0)
    scales = ((high - low) / 15).half()
    step = scales.float()
    zeros = (-low / step).round().clamp(0, 15)
    q = ((groups / step[..., None]).round() + zeros[..., None]).clamp(0, 15)
    return (
        q.reshape(rows, columns).int().numpy(),
        zeros.int().numpy(),
        scales.T.contiguous(),
    )


def _words(values: np.ndarray) -> np.ndarray:
    """Eight integers of four bits a word along the last axis."""
    parts = np.ascontiguousarray(values).astype(np.uint8)
    return (parts[:, 0::2] | parts[:, 1::2] << 4).view("<i4")
