"""Puts the pages of examples/web into a folder, with all that they load: any web server shows them.

    make wasm                                                 # the decoder
    python -m bench.clients.check --install onnxruntime-web   # the runtime
    python examples/web/prepare.py OUT                        # the pages, models, decoder, runtime
    python -m http.server --directory OUT

The sentence encoder is the demo's (`pip install 'taut[demo,onnx]'`), calibrated on the texts that
come with Taut; `--texts` takes others, `--encoder` a Taut file of it that is there already. The
images are scikit-learn's digits, or CIFAR-10 with `--data FOLDER` (docs/edge.md). Each network's
graph is a small .onnx whose weights lie in the safetensors file that the Taut file gives back; the
encoder needs none where there are 128-bit vectors: bert.c has its operations, in 10 kB.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent))

from compile_bert import build_encoder  # noqa: E402
from graph import write_graph  # noqa: E402
from image_sets import Task, cifar10, digits  # noqa: E402

import taut  # noqa: E402
from taut.demo.minilm import find_minilm  # noqa: E402

PAGES = (".html", ".js", ".css")
RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
CLIENT = ROOT / "build" / "clients" / "onnxruntime-web" / "node_modules" / "onnxruntime-web"
SHOWN = 24  # pictures


class Encoder(nn.Module):
    """MiniLM's vectors of tokens, by operations that can be exported."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import AutoModel

        self.inner = AutoModel.from_pretrained(
            find_minilm(), attn_implementation="eager", add_pooling_layer=False
        )

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Token ids, mask and types, each (texts, tokens) -> (texts, tokens, 384)."""
        states: Tensor = self.inner(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
        ).last_hidden_state
        return states


def example() -> dict[str, Tensor]:
    """Inputs of the encoder by name. They differ: an exporter takes equal tensors for one input."""
    ids = torch.arange(1000, 1014).view(2, 7)
    return {
        "input_ids": ids, "attention_mask": torch.ones_like(ids),
        "token_type_ids": torch.zeros_like(ids),
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Fill the folder."""
    asked = command_line().parse_args(arguments)
    out: Path = asked.out
    copy_pages(out, asked.runtime)
    found = {}
    if asked.only != "images":
        found["search"] = search(out, asked.encoder, asked.texts, asked.bits)
    if asked.only != "search":
        task = cifar10(asked.data) if asked.data else digits(epochs=12)
        found["images"] = images(out, task, asked.bits)
    (out / "models.json").write_text(json.dumps(found, indent=1))
    print(f"{out}: python -m http.server --directory {out}")


def copy_pages(out: Path, runtime: Path) -> None:
    """The pages, the npm package and the runtime.

    Raises:
        SystemExit: the package is not built, or the runtime is not installed.
    """
    package = ROOT / "build" / "js"
    if not (package / "taut.wasm").is_file():
        sys.exit(f"{package}: the npm package is not built; run: make wasm")
    if not (runtime / "dist" / RUNTIME[0]).is_file():
        sys.exit(
            f"{runtime}: onnxruntime-web is not there; run: python -m bench.clients.check "
            "--install onnxruntime-web, or name its folder with --runtime"
        )
    for folder, sources in (
        (out, [path for path in HERE.iterdir() if path.suffix in PAGES]),
        (out / "taut", [*package.glob("*.js"), *package.glob("*.wasm")]),
        (out / "runtime", [runtime / "dist" / name for name in RUNTIME]),
    ):
        folder.mkdir(parents=True, exist_ok=True)
        for source in sources:
            shutil.copyfile(source, folder / source.name)


def search(out: Path, encoder: Path | None, texts: Path | None, bits: float) -> dict[str, object]:
    """The sentence encoder, its words, and what the page is told of them."""
    weights = out / "minilm.taut.safetensors"
    if encoder is None:
        folder = out / "minilm-taut"
        calib = str(texts) if texts else "default"
        taut.compress(str(find_minilm()), folder, calib=calib, bits=bits, force=True)
        encoder = folder / "model.taut.safetensors"
        shutil.copyfile(encoder, weights)
        shutil.rmtree(folder)
    else:
        shutil.copyfile(encoder, weights)
    shutil.copyfile(find_minilm() / "vocab.txt", out / "vocab.txt")
    write_graph(
        Encoder().eval(), example(), weights, out / "minilm.onnx",
        free=("batch", "tokens"), prefix="inner.", output="last_hidden_state",
    )  # fmt: skip
    build_encoder(out / "bert.wasm")
    way = {"graph": "minilm.onnx", "weights": weights.name}
    ways = {"taut": {**way, "encoder": "bert.wasm"}, "onnxruntime": way}
    return {"use": "taut", "vocabulary": "vocab.txt", "ways": ways}


def images(out: Path, task: Task, bits: float) -> dict[str, object]:
    """The image classifier and its pictures, and what the page is told of them."""
    weights = out / "images.taut.safetensors"
    taut.compress(task.net, weights, calib=list(task.calibration), bits=bits, force=True)
    shown = task.test[:SHOWN]
    write_graph(task.net, {"x": shown.images[:2]}, weights, out / "images.onnx", free=("batch",))
    colours = shown.images.shape[1] == 3
    mean, deviation = (
        ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)) if colours else ((0.5,), (0.5,))
    )
    scaled = shown.images * _planes(deviation) + _planes(mean)
    pixels = (scaled * 255).round().clamp(0, 255).to(torch.uint8)
    (out / "pictures.bin").write_bytes(pixels.numpy().tobytes())
    way = {"graph": "images.onnx", "weights": weights.name}
    return {
        "use": "taut", "ways": {"taut": way}, "pictures": "pictures.bin",
        "shape": list(pixels.shape), "classes": list(shown.classes),
        "labels": shown.labels.tolist(), "mean": mean, "deviation": deviation,
    }  # fmt: skip


def _planes(values: Sequence[float]) -> Tensor:
    return torch.tensor(values).view(-1, 1, 1)


def command_line() -> argparse.ArgumentParser:
    """What it takes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="the folder to fill")
    parser.add_argument("--bits", type=float, default=2.0, help="bits a weight (2)")
    parser.add_argument("--texts", type=Path, help="calibration texts, one a line")
    parser.add_argument("--encoder", type=Path, help="a Taut file of the encoder, made before")
    parser.add_argument("--data", type=Path, help="a folder with cifar10/ in it")
    parser.add_argument("--runtime", type=Path, default=CLIENT, help="of onnxruntime-web")
    parser.add_argument("--only", choices=("search", "images"), help="one page alone")
    return parser


if __name__ == "__main__":
    main()
