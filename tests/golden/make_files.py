"""Writes the golden files of the Taut file, once: nothing here overwrites a file.

Run from the repository's root: `python tests/golden/make_files.py`. For each version a model as
safetensors, its bit-exact Taut file, and a lossy one beside what that decodes to. Those of
version 1 are there already; only a Taut that wrote that version could make them.
"""

from collections import OrderedDict
from pathlib import Path

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

import taut
from taut.analysis import Curvature
from taut.calibration import Rounder
from taut.container import Origin, TautFile, Writer
from taut.encoding import fill
from taut.io import TensorInfo, open_source
from taut.scheme import parse_scheme

FILES = Path(__file__).parent / "files"
DELTAS = Path(__file__).parent / "deltas"


def model() -> dict[str, np.ndarray]:
    """Tensors for every way of storing: coded, solid, kept, alias; and the odd shapes."""
    rng = np.random.default_rng(1)
    weight = (rng.standard_normal((96, 120)) * 0.05).astype(np.float32)
    return {
        "layer.weight": weight,
        "layer.copy": weight.copy(),
        "layer.half": (rng.standard_normal((80, 128)) * 0.1).astype(ml_dtypes.bfloat16),
        "layer.bias": rng.standard_normal(96).astype(np.float32),
        "layer.noise": np.frombuffer(rng.bytes(20_000), np.uint8).copy(),
        "steps": np.array(12345, np.int64),
        "empty": np.empty((0, 7), np.float16),
    }


def second_model() -> dict[str, np.ndarray]:
    """As above, with small convolutions for packs, and a kept tensor that is small, too."""
    rng = np.random.default_rng(2)
    shapes = {"conv1": (8, 1, 5, 5), "conv2": (16, 8, 5, 5), "fc1": (24, 256), "fc2": (10, 120)}
    small = {}
    for name, shape in shapes.items():
        small[f"{name}.bias"] = rng.standard_normal(shape[0]).astype(np.float32)
        small[f"{name}.weight"] = (rng.standard_normal(shape) * 0.1).astype(np.float32)
    return {**model(), **small, "layer.noise": model()["layer.noise"][:1500]}


def packs(path: Path) -> list[bool]:
    """Whether each pack of a file has an entry of its own."""
    return [bool(pack.name) for pack in TautFile(path).index.packs]


def main() -> None:
    """Write what is not there yet."""
    if not (DELTAS / "base.safetensors").exists():
        write_deltas(DELTAS)
    original, exact, lossy = (
        FILES / f"{name}.safetensors" for name in ("model2", "exact2.taut", "lossy2.taut")
    )
    if original.exists():
        raise SystemExit(f"{original} exists: golden files are never written again")
    save_file(second_model(), original, metadata={"made": "for the golden files"})
    plan = {"layer.noise": "keep"}
    taut.compress(original, exact, plan=plan)
    taut.compress(original, lossy, plan=plan, size="6%")
    taut.decompress(lossy, FILES / "lossy2.safetensors")
    if (packs(exact), packs(lossy)) != ([True], [False]):
        raise SystemExit("the files are to have a pack with an entry and one without")
    write_modules(FILES / "modules2.taut.safetensors")


def write_deltas(folder: Path) -> None:
    """A base, deltas to it of every store and form, and what the lossy one decodes to."""
    rng = np.random.default_rng(3)
    base = {
        "few": (rng.standard_normal((64, 96)) * 0.1).astype(ml_dtypes.bfloat16),
        "all": (rng.standard_normal((72, 64)) * 0.1).astype(np.float32),
        "wide": rng.standard_normal(40 * 64).reshape(40, 64),
        "bits": rng.integers(0, 200, 20_000).astype(np.uint8),
        "ints": rng.integers(-(2**40), 2**40, 3000),
        "bias": rng.standard_normal(64).astype(np.float32),
        "norm": rng.standard_normal(48).astype(np.float16),
        "same": rng.standard_normal(300).astype(np.float32),
        "gone": np.arange(4),
    }
    fine = {name: values.copy() for name, values in base.items() if name != "gone"}
    fine["few"].view(np.uint16)[::3, ::17] += 1
    fine["all"][:50] += (1e-4 * rng.standard_normal((50, 64))).astype(np.float32)
    fine["wide"][:, 5:] *= 1 + 1e-9
    fine["bits"][::3] ^= 1
    fine["ints"][::2] += 1000
    fine["bias"] *= np.float32(1.01)
    fine["norm"][7] = 0
    fine["moved"] = fine.pop("same")
    fine["new"] = np.arange(9, dtype=np.int16)
    save_file(base, folder / "base.safetensors")
    save_file(fine, folder / "exact.safetensors")
    for name, bits in (("exact", None), ("lossy", 1)):
        dst = folder / f"{name}.taut.safetensors"
        taut.compress(
            folder / "exact.safetensors", dst, base=folder / "base.safetensors", bits=bits
        )
    taut.decompress(folder / "lossy.taut.safetensors", folder / "lossy.safetensors")


def write_modules(path: Path) -> None:
    """A file that says what modules need to be told."""
    values = np.arange(6, dtype=np.float32)
    info = TensorInfo("conv1.bias", "F32", (6,), 24)
    origin = Origin(24, modules={"conv1": {"out_channels": 6}, "": {"width": -(2**40)}})
    with Writer(path, origin, [info]) as writer:
        writer.layout.add_small(info, "lossless", values)
        writer.finish()


def write_gguf(path: Path) -> None:
    """A GGUF file of blocks of three types, and what is made of it; run once, by hand."""
    from tests.forge_gguf import small_model

    if path.exists():
        raise SystemExit(f"{path} exists: golden files are never written again")
    path.write_bytes(small_model().data())
    taut.compress(path, path.with_name("gguf2.taut.safetensors"))


def write_basis(folder: Path) -> None:
    """A table of words in a basis, beside a matrix that has none; run once, by hand."""
    path = folder / "basis2.taut.safetensors"
    if path.exists():
        raise SystemExit(f"{path} exists: golden files are never written again")
    rng = np.random.default_rng(5)
    words = rng.standard_normal((1500, 12)) @ rng.standard_normal((12, 40)) / 20
    model = {
        "words": words.astype(ml_dtypes.bfloat16),
        "layer": (rng.standard_normal((60, 40)) / 20).astype(np.float32),
    }
    source = open_source(model)
    schemes = {name: parse_scheme("rd") for name in model}
    counts, form = rng.uniform(0.1, 9, 1500), np.cov(rng.standard_normal((40, 90)))
    known = {"words": Curvature(counts, form, None, None, 500, 500, "embedding", 0)}
    rounder = Rounder(source, schemes, known)
    rounder.turn(rounder.first_dial(2))
    with Writer(path, Origin(source.nbytes), source.infos) as writer:
        fill(writer.layout, source, schemes, effort="max", threads=1, quantize=rounder)
        writer.finish()
    taut.decompress(path, folder / "basis2.safetensors")


def low_bit_model() -> dict[str, np.ndarray]:
    """Packed integers and FP8 of compressed-tensors, with their scales."""
    rng = np.random.default_rng(3)
    q = np.clip(np.rint(rng.normal(8, 2, (160, 512))), 0, 15).astype(np.uint8)
    return {
        "up.weight_packed": (q[:, ::2] | q[:, 1::2] << 4).view("<i4"),
        "up.weight_scale": rng.uniform(0.01, 0.02, (160, 16)).astype(ml_dtypes.bfloat16),
        "up.weight_shape": np.array([160, 512]),
        "down.weight": rng.normal(0, 60, (96, 128)).astype(ml_dtypes.float8_e4m3fn),
        "down.weight_scale": rng.uniform(0.001, 0.002, (96, 1)).astype(ml_dtypes.bfloat16),
        "norm.weight": np.ones(128, ml_dtypes.bfloat16),
    }


def checkpoint() -> dict[object, object]:
    """A whole checkpoint: tensors of torch and arrays of numpy among values of every plain kind."""
    import torch

    moments = {"step": torch.tensor(3.0), "exp_avg": torch.arange(12.0).reshape(3, 4) / 7}
    return {
        "model": OrderedDict(w=torch.arange(12, dtype=torch.bfloat16).reshape(3, 4)),
        "optimizer": {"state": {0: moments}, "param_groups": [{"betas": (0.9, 0.999), "lr": 1e-3}]},
        "plain": [None, True, -1, 1 << 70, 0.1, float("-inf"), "\u00e9", b"\x00", {1, 2}],
        "torch": [torch.float16, torch.device("cpu"), torch.Size([2, 3])],
        ("key", 2.5): [np.float32(0.25), np.arange(3, dtype=np.int16)],
    }


def write_checkpoint() -> None:
    """A whole checkpoint in a Taut file; run once, by hand."""
    path = FILES / "checkpoint2.taut.safetensors"
    if path.exists():
        raise SystemExit(f"{path} exists: golden files are never written again")
    taut.compress(checkpoint(), path, key="*")  # type: ignore[arg-type]  # taken as a whole


def write_low_bit() -> None:
    """A checkpoint of low-bit weights, its bit-exact Taut file, and the floats of its weights."""
    import json
    import tempfile

    original = FILES / "low_bit2.safetensors"
    if original.exists():
        raise SystemExit(f"{original} exists: golden files are never written again")
    int4 = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 32}
    fp8 = {"num_bits": 8, "type": "float", "strategy": "channel"}
    settings = {
        "quant_method": "compressed-tensors",
        "format": "mixed-precision",
        "config_groups": {
            "group_0": {"targets": ["re:.*up"], "weights": int4},
            "group_1": {"targets": ["re:.*down"], "weights": fp8},
        },
    }
    save_file(low_bit_model(), original)
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "config.json")
        config.write_text(json.dumps({"dtype": "bfloat16", "quantization_config": settings}))
        Path(folder, original.name).write_bytes(original.read_bytes())
        taut.compress(Path(folder, original.name), FILES / "low_bit2.taut.safetensors")
    floats = taut.load(FILES / "low_bit2.taut.safetensors", dequantize=True)
    save_file(dict(floats.items()), FILES / "low_bit2.floats.safetensors")


if __name__ == "__main__":
    main()
