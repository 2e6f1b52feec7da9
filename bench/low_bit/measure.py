"""Low-bit checkpoints of a real model, bit-exact: bytes beside zstd's, format by format.

    python -m bench.low_bit.measure --model FOLDER [--layers N]

The matrices of the model's layers are quantised by the libraries that write each format
(compressed-tensors, transformers, and bitsandbytes where it is installed), or by the layout's
definition (GPTQ, AWQ), and saved as a checkpoint; embeddings and norms are left out. zstd gets the
whole file, at its levels 3 and 19. Each Taut file is decompressed and compared byte for byte, and
its floats with those of the checkpoint.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import taut
from bench.low_bit.formats import formats
from bench.measuring import report
from taut.io import open_source
from taut.io.quantized import as_floats

if TYPE_CHECKING:
    import torch

COLUMNS = {
    "format": "format",
    "original": "checkpoint, bytes",
    "zstd3": "zstd-3, %",
    "zstd19": "zstd-19, %",
    "taut": "Taut, %",
    "codes": "codes alone: zstd-19, %",
    "ours": "codes alone: Taut, %",
}


def row(name: str, weights: dict[str, torch.Tensor], folder: Path) -> dict[str, object]:
    """One format: the checkpoint made, compressed both ways, and checked."""
    import zstandard
    from safetensors.torch import save_file

    settings, make = formats()[name]
    state = {
        f"{layer}.{part}": one.contiguous()
        for layer, weight in weights.items()
        for part, one in make(weight).items()
    }
    path = folder / "model.safetensors"
    save_file(state, path, metadata={"format": "pt"})
    config = {"model_type": "llama", "dtype": "bfloat16", "quantization_config": settings}
    (folder / "config.json").write_text(json.dumps(config))
    small = folder / "small.taut.safetensors"
    taut.compress(path, small, force=True)
    taut.decompress(small, folder / "back.safetensors", force=True)
    data = path.read_bytes()
    if (folder / "back.safetensors").read_bytes() != data:
        raise SystemExit(f"{name}: is not what it was")
    _check_floats(path, small)
    found = {level: len(zstandard.ZstdCompressor(level=level).compress(data)) for level in (3, 19)}
    largest = _codes(path)
    raw = sum(values.nbytes for values in largest.values())
    packed = sum(
        len(zstandard.ZstdCompressor(level=19).compress(values.tobytes()))
        for values in largest.values()
    )
    ours = sum(one.bytes for one in taut.info(small).tensors if one.name in largest)
    return {
        "format": name,
        "original": len(data),
        "zstd3": 100 * found[3] / len(data),
        "zstd19": 100 * found[19] / len(data),
        "taut": 100 * small.stat().st_size / len(data),
        "codes": 100 * packed / raw,
        "ours": 100 * ours / raw,
    }


def _check_floats(path: Path, small: Path) -> None:
    """The Taut file gives the floats that the checkpoint stands for."""
    source, file = as_floats(open_source(path)), taut.load(small, dequantize=True)
    for info in source.infos[:2]:
        if not np.array_equal(source.load(info.name), file[info.name]):
            raise SystemExit(f"{info.name}: other floats")


def _codes(path: Path) -> dict[str, np.ndarray]:
    """The tensors of packed codes: the largest of each layer."""
    source = open_source(path)
    most = max(info.nbytes for info in source.infos)
    return {i.name: source.load(i.name) for i in source.infos if 16 * i.nbytes > most
            and i.dtype in ("U8", "I8", "I32", "F8_E4M3")}  # fmt: skip


def weights_of(folder: Path, layers: int) -> Iterator[tuple[str, torch.Tensor]]:
    """The matrices of the first layers, bfloat16, by the layer's name."""
    import torch

    source = open_source(folder)
    for info in source.infos:
        number = next((part for part in info.name.split(".") if part.isdigit()), None)
        if len(info.shape) == 2 and number is not None and int(number) < layers:
            values = torch.from_numpy(source.load(info.name).astype(np.float32))
            yield info.name.removesuffix(".weight"), values.bfloat16()


def main(argv: Sequence[str] | None = None) -> None:
    """Measure every format, print the table and save it."""
    arguments = command_line().parse_args(argv)
    weights = dict(weights_of(arguments.model, arguments.layers))
    if not weights:
        raise SystemExit(f"{arguments.model}: no layers with numbers")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in formats():
            print(name, file=sys.stderr)
            rows.append(row(name, weights, Path(folder)))
    print(report.table(COLUMNS, rows))
    report.save("low_bit", rows, matrices=len(weights))


def command_line() -> argparse.ArgumentParser:
    """Return the parser of what is typed behind the script's name."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="a model folder with floats")
    parser.add_argument("--layers", type=int, default=1 << 30, help="of them the first N")
    return parser


if __name__ == "__main__":
    main()
