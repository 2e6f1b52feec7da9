"""Small folders of low-bit checkpoints, made from the definitions of the formats."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from taut.container.plain_file import write_tensors
from taut.io import TensorInfo, dtype_name

Arrays = dict[str, np.ndarray]
CONFIGS: dict[str, dict[str, object]] = {
    "fp8": {"quant_method": "fp8", "weight_block_size": [8, 16]},
    "gptq": {"quant_method": "gptq", "bits": 4, "group_size": 16},
    "awq": {"quant_method": "awq", "bits": 4, "group_size": 16, "version": "gemm"},
    "mxfp4": {"quant_method": "mxfp4"},
    "nf4": {"quant_method": "bitsandbytes", "load_in_4bit": True},
    "int8": {"quant_method": "bitsandbytes", "load_in_8bit": True},
    "modelopt": {"quant_method": "modelopt", "quant_algo": "NVFP4"},
}


def packed_config(bits: int = 4, kind: str = "int", group: int = 16, **more: object) -> dict:
    """The settings of compressed-tensors for weights of one kind."""
    weights = {"num_bits": bits, "type": kind, "strategy": "group", "group_size": group, **more}
    formats = {"int": "pack-quantized", "float": "nvfp4-pack-quantized"}
    return {
        "quant_method": "compressed-tensors",
        "format": formats[kind],
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}},
    }


def write_folder(
    folder: Path, arrays: Mapping[str, np.ndarray], settings: object, dtype: str | None = None
) -> Path:
    """A model folder of these tensors, whose config has these settings."""
    folder.mkdir(parents=True, exist_ok=True)
    infos = [TensorInfo(n, dtype_name(a.dtype), a.shape, a.nbytes) for n, a in arrays.items()]
    (folder / "model.safetensors").unlink(missing_ok=True)
    write_tensors(folder / "model.safetensors", infos, lambda name: arrays[name])
    config: dict[str, object] = {"model_type": "llama"}
    if settings is not None:
        config["quantization_config"] = settings
    if dtype is not None:
        config["dtype"] = dtype
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def words(values: np.ndarray, bits: int) -> NDArray[np.int32]:
    """Integers of the last axis one after the other in words of 32 bits, the lowest bits first."""
    *rows, count = values.shape
    each = (values[..., None] >> np.arange(bits) & 1).astype(np.uint8).reshape(*rows, count * bits)
    filled = np.zeros((*rows, -(-count * bits // 32) * 32), np.uint8)
    filled[..., : count * bits] = each
    return np.packbits(filled, axis=-1, bitorder="little").view("<i4").astype(np.int32)


def gptq_layer(
    rng: np.random.Generator, bits: int = 4, inputs: int = 64, outputs: int = 32, group: int = 16
) -> tuple[Arrays, NDArray[np.float32]]:
    """A layer of GPTQ, with inputs in any order of groups, and the weight that it stands for."""
    q = rng.integers(0, 1 << bits, (inputs, outputs))
    zeros = rng.integers(0, 1 << bits, (inputs // group, outputs))
    scales = rng.uniform(0.01, 0.02, zeros.shape).astype(np.float16)
    which = rng.permutation(np.arange(inputs) // group).astype(np.int32)
    most = (1 << bits) - 1
    arrays = {
        "l.qweight": words(q.T, bits).T.copy(),
        "l.qzeros": words(zeros - 1 & most, bits),
        "l.scales": scales,
        "l.g_idx": which,
    }
    floats = (q - zeros[which]).astype(np.float32) * scales[which].astype(np.float32)
    return arrays, floats.T


def awq_layer(rng: np.random.Generator) -> tuple[Arrays, NDArray[np.float32]]:
    """A layer of AWQ, and the weight that it stands for."""
    q, zeros = rng.integers(0, 16, (64, 32)), rng.integers(0, 16, (4, 32))
    scales = rng.uniform(0.01, 0.02, zeros.shape).astype(np.float16)
    order = [0, 2, 4, 6, 1, 3, 5, 7]  # the column in each nibble of a word

    def packed(values: np.ndarray) -> np.ndarray:
        return words(values.reshape(len(values), -1, 8)[:, :, order].reshape(len(values), -1), 4)

    arrays = {"l.qweight": packed(q), "l.qzeros": packed(zeros), "l.scales": scales}
    which = np.arange(64) // 16
    floats = (q - zeros[which]).astype(np.float32) * scales[which].astype(np.float32)
    return arrays, floats.T


def fp8_layer(rng: np.random.Generator) -> tuple[Arrays, NDArray[np.float32]]:
    """A weight of FP8 in blocks of 8 x 16, the last ones cut off, and what it stands for."""
    weight = rng.normal(0, 30, (20, 40)).astype(ml_dtypes.float8_e4m3fn)
    scales = rng.uniform(0.001, 0.002, (3, 3)).astype(np.float32)
    arrays = {"l.weight": weight, "l.weight_scale_inv": scales}
    spread = np.repeat(np.repeat(scales, 8, 0), 16, 1)[:20, :40]
    return arrays, weight.astype(np.float32) * spread


E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)


def mxfp4_layer(rng: np.random.Generator) -> tuple[Arrays, NDArray[np.float32]]:
    """Experts as gpt-oss has them, and what they stand for: transposed."""
    codes = rng.integers(0, 16, (2, 6, 3, 32)).astype(np.uint8)
    scales = rng.integers(120, 126, (2, 6, 3)).astype(np.uint8)
    arrays = {
        "e.proj_blocks": codes[..., 0::2] | codes[..., 1::2] << 4,
        "e.proj_scales": scales,
    }
    floats = E2M1[codes] * 2.0 ** (scales.astype(np.float32) - 127)[..., None]
    return arrays, floats.reshape(2, 6, 96).transpose(0, 2, 1)


def nvfp4_layer(rng: np.random.Generator, *, divided: bool) -> tuple[Arrays, NDArray[np.float32]]:
    """A weight of NVFP4 as compressed-tensors (`divided`) or ModelOpt has it."""
    codes = rng.integers(0, 16, (8, 64)).astype(np.uint8)
    scales = rng.uniform(1, 400, (8, 4)).astype(ml_dtypes.float8_e4m3fn)
    whole = np.array([1000.0 if divided else 0.001], np.float32)
    packed = codes[:, 0::2] | codes[:, 1::2] << 4
    each = scales.astype(np.float32) / whole if divided else scales.astype(np.float32) * whole
    floats = E2M1[codes] * np.repeat(each, 16, 1)
    if divided:
        arrays = {
            "l.weight_packed": packed,
            "l.weight_scale": scales,
            "l.weight_global_scale": whole,
            "l.input_global_scale": np.ones(1, np.float32),
        }
    else:
        arrays = {"l.weight": packed, "l.weight_scale": scales, "l.weight_scale_2": whole}
    return arrays, floats


def packed_layer(
    rng: np.random.Generator, bits: int = 4, *, order: bool = False
) -> tuple[Arrays, NDArray[np.float32]]:
    """A weight of packed integers, of compressed-tensors, with groups of 16 columns."""
    half = 1 << (bits - 1)
    q = rng.integers(-half, half, (24, 48))
    scales = rng.uniform(0.01, 0.02, (24, 3)).astype(np.float32)
    which = np.arange(48) // 16
    arrays = {
        "l.weight_packed": words(q + half, bits),
        "l.weight_scale": scales,
        "l.weight_shape": np.array(q.shape),
    }
    if order:
        which = rng.permutation(which)
        arrays["l.weight_g_idx"] = which.astype(np.int32)
    return arrays, q.astype(np.float32) * scales[:, which]


def nf4_layer(rng: np.random.Generator) -> tuple[Arrays, NDArray[np.float32]]:
    """A weight with a state of bitsandbytes, maxima of blocks in eight bits; and its floats."""
    codes = rng.integers(0, 16, 32 * 24).astype(np.uint8)
    levels = np.sort(rng.uniform(-1, 1, 16)).astype(np.float32)
    nested = np.sort(rng.uniform(-1, 1, 256)).astype(np.float32)
    each = rng.integers(0, 256, 12).astype(np.uint8)
    state = {
        "quant_type": "nf4",
        "blocksize": 64,
        "dtype": "float16",
        "shape": [32, 24],
        "nested_blocksize": 256,
        "nested_dtype": "float32",
        "nested_offset": 0.25,
    }
    arrays = {
        "l.weight": (codes[0::2] << 4 | codes[1::2]).reshape(-1, 1),
        "l.weight.absmax": each,
        "l.weight.quant_map": levels,
        "l.weight.nested_absmax": np.array([0.5], np.float32),
        "l.weight.nested_quant_map": nested,
        "l.weight.quant_state.bitsandbytes__nf4": np.frombuffer(json.dumps(state).encode(), "u1"),
    }
    maxima = nested[each] * np.float32(0.5) + np.float32(0.25)
    floats = levels[codes] * np.repeat(maxima, 64)
    return arrays, floats.reshape(32, 24)


def int8_layer(rng: np.random.Generator) -> tuple[Arrays, NDArray[np.float32]]:
    """A weight of bitsandbytes' int8, and its floats."""
    q = rng.integers(-127, 128, (16, 40)).astype(np.int8)
    scales = rng.uniform(0.5, 2, 16).astype(np.float32)
    floats = q.astype(np.float32) * scales[:, None] * np.float32(1 / 127)
    return {"l.weight": q, "l.SCB": scales, "l.weight_format": np.array(0, np.uint8)}, floats
