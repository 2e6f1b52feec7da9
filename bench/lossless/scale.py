"""Models that are larger than memory, without data: shards, one large tensor, and a dry run.

    python -m bench.lossless.scale                         # a small run of all rows: 0.5 GB each
    python -m bench.lossless.scale --shards 8 --tensor 3   # as in docs/scale.md: gigabytes
    python -m bench.lossless.scale --tensor 0.5 --schemes "50%;int4:g128"   # one tensor alone
    python -m bench.lossless.scale --tensor 0.6 --base     # one tensor on a base
    python -m bench.lossless.scale --tensor 0.6 --look     # one tensor described, and exported
    python -m bench.lossless.scale --tensor 0.6 --formats  # read from other formats, and written

Makes the models of random bfloat16 weights in a temporary folder (TMPDIR), runs each command in a
process of its own, and prints CPU seconds and the largest anonymous and resident memory.
"""

from __future__ import annotations

import argparse
import json
import math
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import ml_dtypes
import numpy as np

_COLUMNS = 4096
_ROWS = 4096  # that are made at a time
_MB = 1e6

Tensors = list[tuple[str, tuple[int, ...]]]


def command_line() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--shards", type=float, default=0.5, help="GB of the sharded folder")
    options.add_argument("--tensor", type=float, default=0.5, help="GB of the one tensor")
    options.add_argument("--dry", type=float, default=0.5, help="GB of the model that is foreseen")
    options.add_argument(
        "--schemes", default="", metavar="A;B", help="schemes of the one tensor, and no other row"
    )
    options.add_argument(
        "--base", action="store_true", help="the one tensor as a delta, and no other row"
    )
    options.add_argument(
        "--look", action="store_true", help="the one tensor analysed and exported, and no other row"
    )
    options.add_argument(
        "--formats",
        action="store_true",
        help="the one tensor from PyTorch and ONNX, and in networks for GGUF, ONNX and "
        "compressed-tensors, and no other row",
    )
    return options


def main(argv: Sequence[str] | None = None) -> None:
    """Print a row for each command."""
    if sys.argv[1:2] == ["--row"]:
        print(json.dumps(_measure(*sys.argv[2:])))
        return
    asked = command_line().parse_args(argv)
    print("| work | CPU s | anonymous MB | resident MB | size |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for what, row in _rows(folder, asked):
            print(f"| {what} | {row['cpu']:.1f} | {row['anonymous']:.0f} | {row['resident']:.0f} | "
                  f"{row['size']:,} |", flush=True)  # fmt: skip


def _rows(folder: Path, asked: argparse.Namespace) -> Iterator[tuple[str, dict[str, float]]]:
    if asked.schemes:
        yield from _by_schemes(folder, asked)
        return
    if asked.base:
        yield from _on_base(folder, asked)
        return
    if asked.look:
        yield from _looked_at(folder, asked)
        return
    if asked.formats:
        yield from _from_formats(folder, asked)
        yield from _to_formats(folder, asked)
        return
    shards = sharded(folder / "shards", asked.shards, 8)
    for verb, *rest in (("compress", "{}"), ("verify",), ("decompress",)):
        source = shards if verb == "compress" else folder / "small"
        target = folder / ("small" if verb == "compress" else "back")
        yield f"{asked.shards:g} GB in 8 shards, {verb}", _run(verb, source, target, *rest)
    tensor = folder / "one.safetensors"
    _write(tensor, [("weight", (int(asked.tensor * 1e9 / 2 / _COLUMNS), _COLUMNS))])
    for told, asking in (("lossless", {}), ("--bits 4", {"bits": 4})):
        small = folder / f"{told}.taut.safetensors"
        found = _run("compress", tensor, small, json.dumps(asking))
        yield f"one tensor of {asked.tensor:g} GB, {told}", found
        yield f"the same, verify ({told})", _run("verify", small, small)
    dry = sharded(folder / "dry", asked.dry, 1)
    yield (
        f"--bits 4 --dry-run of {asked.dry:g} GB",
        _run("dry", dry, folder / "none", json.dumps({"bits": 4})),
    )


def _by_schemes(folder: Path, asked: argparse.Namespace) -> Iterator[tuple[str, dict[str, float]]]:
    """One tensor under each scheme, made and verified."""
    tensor, small = folder / "one.safetensors", folder / "small.taut.safetensors"
    _write(tensor, [("weight", (int(asked.tensor * 1e9 / 2 / _COLUMNS), _COLUMNS))])
    for scheme in asked.schemes.split(";"):
        options = {"plan": {"weight": scheme}, "effort": "fast", "force": True}
        told = f"one tensor of {asked.tensor:g} GB, {scheme}"
        yield told, _run("compress", tensor, small, json.dumps(options))
        yield f"the same, verify ({scheme})", _run("verify", small, small)


def _on_base(folder: Path, asked: argparse.Namespace) -> Iterator[tuple[str, dict[str, float]]]:
    """One tensor as what it differs by from another, and that as the base of a third."""
    names = [folder / f"{name}.safetensors" for name in ("base", "fine", "third")]
    shape = (int(asked.tensor * 1e9 / 2 / _COLUMNS), _COLUMNS)
    for moved, path in enumerate(names):
        _write(path, [("weight", shape)], moved)
    small, more = folder / "fine.taut.safetensors", folder / "third.taut.safetensors"
    told = f"one tensor of {asked.tensor:g} GB"
    base = json.dumps({"base": str(names[0])})
    yield f"{told} on a base", _run("compress", names[1], small, base)
    yield "the same, verify", _run("verify", small, small, base)
    yield "the same, decompress", _run("decompress", small, folder / "back.safetensors", base)
    rounded = folder / "rounded.taut.safetensors"
    bits = json.dumps({"base": str(names[0]), "bits": 0.3, "effort": "fast"})
    yield f"{told} on a base, --bits 0.3", _run("compress", names[1], rounded, bits)
    yield "the same, verify", _run("verify", rounded, rounded, base)
    yield "the same, decompress", _run("decompress", rounded, folder / "again.safetensors", base)
    on_delta = json.dumps({"base": [str(small), str(names[0])]})
    yield f"{told} on that delta", _run("compress", names[2], more, on_delta)
    yield "the same, verify", _run("verify", more, more, on_delta)
    yield f"{told} beside another, diff", _run("diff", names[0], names[1])
    yield "the delta beside its base, diff", _run("diff", small, names[0], base)


def _looked_at(folder: Path, asked: argparse.Namespace) -> Iterator[tuple[str, dict[str, float]]]:
    """One tensor described, and written in other formats."""
    tensor, small = folder / "one.safetensors", folder / "small.taut.safetensors"
    _write(tensor, [("weight", (int(asked.tensor * 1e9 / 2 / _COLUMNS), _COLUMNS))])
    yield f"one tensor of {asked.tensor:g} GB, analyze", _run("analyze", tensor, small)
    _run("compress", tensor, small)
    for dtype in ("bfloat16", "float16"):
        options = json.dumps({"dtype": dtype, "force": True})
        found = _run("export", small, folder / "other.safetensors", options)
        yield f"the same, export as {dtype}", found


def _from_formats(
    folder: Path, asked: argparse.Namespace
) -> Iterator[tuple[str, dict[str, float]]]:
    """One tensor that lies in a checkpoint of PyTorch, and in a file beside an ONNX model."""
    tensor, small = folder / "one.safetensors", folder / "small.taut.safetensors"
    rows = int(asked.tensor * 1e9 / 2 / _COLUMNS)
    _write(tensor, [("weight", (rows, _COLUMNS))])
    told = f"one tensor of {asked.tensor:g} GB"
    _run("checkpoint", tensor, folder / "one.pt")
    yield f"{told} from PyTorch, lossless", _run("compress", folder / "one.pt", small)
    _run("onnx", tensor, folder / "one.onnx")
    model = folder / "one.taut.safetensors"
    yield f"{told} from ONNX, lossless", _run("compress", folder / "one.onnx", model)
    yield "the same, decompress", _run("decompress", model, folder / "back" / "one.onnx")
    for one in ("load_all", "load_file"):
        yield f"the first, {one}", _run(one, small, small)


def _to_formats(folder: Path, asked: argparse.Namespace) -> Iterator[tuple[str, dict[str, float]]]:
    """A Llama of one block, whose three large matrices have the size, in formats of runtimes."""
    width = 2048
    wide = int(asked.tensor * 1e9 / 2 / width) // 128 * 128
    llama, small = folder / "llama", folder / "llama_small"
    _llama(llama, width, wide)
    _run("compress", llama, small)
    for told, out, options in (
        ("GGUF, bfloat16", "a.gguf", {"weights": "bfloat16"}),
        ("GGUF, int8", "b.gguf", {"weights": "int8"}),
        ("compressed-tensors, int8", "c", {"to": "compressed-tensors", "weights": "int8"}),
        ("compressed-tensors, int4", "d", {"to": "compressed-tensors", "weights": "int4"}),
    ):
        row = _run("export", small, folder / out, json.dumps({**options, "force": True}))
        yield f"three matrices of {asked.tensor:g} GB as {told}", row


def _llama(folder: Path, width: int, wide: int) -> None:
    """A Llama of one block with random weights in bfloat16."""
    folder.mkdir()
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": width,
        "intermediate_size": wide, "num_hidden_layers": 1, "num_attention_heads": width // 64,
        "num_key_value_heads": width // 512, "vocab_size": 256, "torch_dtype": "bfloat16",
        "max_position_embeddings": 512, "rms_norm_eps": 1e-6, "tie_word_embeddings": False,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    block, few = "model.layers.0", width // 8
    _write(
        folder / "model.safetensors",
        [
            ("model.embed_tokens.weight", (256, width)),
            (f"{block}.input_layernorm.weight", (width,)),
            (f"{block}.self_attn.q_proj.weight", (width, width)),
            (f"{block}.self_attn.k_proj.weight", (few, width)),
            (f"{block}.self_attn.v_proj.weight", (few, width)),
            (f"{block}.self_attn.o_proj.weight", (width, width)),
            (f"{block}.post_attention_layernorm.weight", (width,)),
            (f"{block}.mlp.gate_proj.weight", (wide, width)),
            (f"{block}.mlp.up_proj.weight", (wide, width)),
            (f"{block}.mlp.down_proj.weight", (width, wide)),
            ("model.norm.weight", (width,)),
            ("lm_head.weight", (256, width)),
        ],
    )


def _as_checkpoint(source: str, target: str) -> int:
    """Write the tensor of a safetensors file as PyTorch does."""
    import torch
    from safetensors.torch import load_file

    torch.save(load_file(source), target)
    return Path(target).stat().st_size


def _as_onnx(source: str, target: str) -> int:
    """Write the tensor of a safetensors file as an ONNX model with its weights beside it."""
    import onnx
    from safetensors import safe_open

    data = Path(target).with_suffix(".bin")
    with safe_open(source, "np") as opened:
        rows, columns = opened.get_slice("weight").get_shape()
    begin = Path(source).stat().st_size - 2 * rows * columns
    with Path(source).open("rb") as file, data.open("wb") as out:
        file.seek(begin)
        while piece := file.read(1 << 24):
            out.write(piece)
    weight = onnx.TensorProto(
        name="weight", data_type=onnx.TensorProto.BFLOAT16, dims=[rows, columns],
        data_location=onnx.TensorProto.EXTERNAL,
    )  # fmt: skip
    weight.external_data.add(key="location", value=data.name)
    given = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.BFLOAT16, ["n", rows])
    back = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.BFLOAT16, ["n", columns])
    node = onnx.helper.make_node("MatMul", ["x", "weight"], ["y"])
    graph = onnx.helper.make_graph([node], "one", [given], [back], [weight])
    Path(target).write_bytes(onnx.helper.make_model(graph).SerializeToString())
    return Path(target).stat().st_size


def _run(verb: str, source: Path, target: Path, options: str = "{}") -> dict[str, float]:
    command = [sys.executable, "-m", __spec__.name, "--row", verb, str(source), str(target)]
    done = subprocess.run([*command, options], check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _measure(verb: str, source: str, target: str, options: str) -> dict[str, float]:
    """One command in this process, which is watched meanwhile."""
    import taut

    peaks, began = {"RssAnon": 0, "VmHWM": 0}, time.process_time()
    threading.Thread(target=_watch, args=(peaks,), daemon=True).start()
    match verb:
        case "compress":
            size = taut.compress(source, target, threads=1, **json.loads(options)).size
        case "dry":
            size = taut.compress(source, threads=1, dry_run=True, **json.loads(options)).size
        case "diff":
            size = _compared(source, target, json.loads(options))
        case "analyze":
            size = taut.analyze(source).bytes
        case "export":
            size = taut.export(source, target, threads=1, **json.loads(options)).size
        case "checkpoint":
            size = _as_checkpoint(source, target)
        case "onnx":
            size = _as_onnx(source, target)
        case "load_all":
            size = sum(one.nbytes for one in taut.load(source, threads=1).load_all().values())
        case "load_file":
            size = sum(one.nbytes for one in taut.load_file(source).values())
        case "verify":
            size = taut.verify(source, threads=1, **json.loads(options)).size
        case _:
            size = taut.decompress(source, target, threads=1, **json.loads(options)).bytes
    return {
        "cpu": time.process_time() - began,
        "anonymous": peaks["RssAnon"] * 1024 / _MB,
        "resident": peaks["VmHWM"] * 1024 / _MB,
        "size": size,
    }


def _compared(first: str, second: str, options: dict[str, str]) -> int:
    """How many values differ; `first` may be a delta."""
    import taut

    one = taut.load(first, **options) if options else first
    return sum(tensor.changed for tensor in taut.diff(one, second).tensors)


def _watch(peaks: dict[str, int]) -> None:
    """Note the largest memory that the system tells of, fifty times a second (Linux)."""
    status = Path("/proc/self/status")
    while status.exists():
        for line in status.read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in peaks:
                peaks[name] = max(peaks[name], int(rest.split()[0]))
        time.sleep(0.02)


def sharded(folder: Path, size: float, count: int) -> Path:
    """A folder of `count` shards (one: a single file) of the layers of a 1 B Llama."""
    folder.mkdir()
    layer = (("q", 2048, 2048), ("o", 2048, 2048), ("up", 5632, 2048), ("down", 2048, 5632))
    nbytes = 2 * sum(rows * columns for _, rows, columns in layer)
    layers = max(1, round(size * 1e9 / count / nbytes))
    owners: dict[str, str] = {}
    for shard in range(count):
        name = f"model-{shard + 1:05}-of-{count:05}.safetensors"
        name = name if count > 1 else "model.safetensors"
        tensors = [
            (f"layers.{shard * layers + at}.{part}.weight", (rows, columns))
            for at in range(layers)
            for part, rows, columns in layer
        ]
        _write(folder / name, tensors)
        owners |= dict.fromkeys((tensor for tensor, _ in tensors), name)
    if count > 1:
        index = {"metadata": {}, "weight_map": owners}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def _write(path: Path, tensors: Tensors, moved: int = 0) -> None:
    """A safetensors file of random weights, of which some rows are held; `moved` a little."""
    rng, end, entries = np.random.default_rng(0), 0, {}
    other = np.random.default_rng(1)
    for name, shape in tensors:
        begin, end = end, end + 2 * math.prod(shape)
        entries[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    header = json.dumps(entries).encode()
    header += b" " * (-len(header) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for rows, columns in ((shape[0], math.prod(shape[1:])) for _, shape in tensors):
            for at in range(0, rows, _ROWS):
                shape = (min(_ROWS, rows - at), columns)
                values = rng.standard_normal(shape, dtype=np.float32) * np.float32(0.02)
                for _ in range(moved):
                    values += other.standard_normal(shape, dtype=np.float32) * np.float32(1e-5)
                file.write(values.astype(ml_dtypes.bfloat16).tobytes())


if __name__ == "__main__":
    main()
