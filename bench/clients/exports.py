"""Which exports of which models each client is asked to run, and how near its answers must be."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import taut
from bench.clients.models import ClientModel
from bench.clients.vocabularies import vocabularies
from taut.io import open_source

# Bounds: of rounding floats to float16 or to 8 bits; of activations in bfloat16, or in 8 bits too.
_LAYER = re.compile(r"\.(layers?|h)\.")
_NEAR, _HALF, _ACTIVATIONS = 1e-3, 1e-2, 3e-2
_LARGE = 4096
# Clients that have Taut beside them and export themselves; how their files end.
DEVICES = {"litert": ".tflite", "executorch": ".pte", "coreml": ".mlpackage"}


@dataclass(frozen=True)
class Export:
    """A written export of a model: `taut` is what PyTorch's weights come from."""

    model: ClientModel
    name: str
    path: Path
    taut: Path
    perplexity_off: float = _NEAR
    cosine: float = 0.999
    dtype: str = ""
    weights: str = ""

    def job(self) -> dict[str, Any]:
        """What a client is told; of a large vocabulary few windows, as each token lists it all."""
        vocabulary = 1 + max((max(ids) for ids in self.model.ids), default=0)
        return {
            "model": str(self.path),
            "source": str(self.taut),
            "weights": self.weights,
            "embeds": self.model.embeds,
            "texts": self.model.texts,
            "ids": self.model.ids if vocabulary <= _LARGE else self.model.ids[:4],
            "dtype": self.dtype,
            "vocabulary": vocabulary,
        }


def exports_for(client: str, models: Mapping[str, ClientModel], folder: Path) -> Iterator[Export]:
    """The exports that a client is asked to run; written when they are asked for."""
    if client.startswith("llama"):
        for name in ("llama", "gpt2", "bert", "smollm2"):
            if name in models:
                yield from gguf(models[name], folder)
        if client == "llama":
            for model in vocabularies(folder / "vocabularies"):
                yield from tokens(model, folder)
    elif client == "vllm":
        yield from packed(models["small"], folder)
        for name in ("small", "smollm2"):
            if name in models:
                yield from itself(models[name], folder)
    elif client in DEVICES:
        if "bert" in models and client != "coreml":
            yield from device(models["bert"], folder, client)
    elif "bert" in models:
        yield from onnx(models["bert"], folder, by_folder=client == "transformers-js")


def gguf(model: ClientModel, folder: Path) -> Iterator[Export]:
    """float16 and Q8_0 of the model, and what follows from integers in the Taut file."""
    plain = compressed(model, folder, "lossless")
    grid = compressed(model, folder, "int8")
    for name, weights, source in (
        ("float32", "float32", plain),
        ("float16", "float16", plain),
        ("int8", "int8", plain),
        ("of an int8 file", None, grid),
    ):
        out = folder / f"{model.folder.name}-{name.replace(' ', '-')}.gguf"
        if not out.exists():
            taut.export(source, out, weights=weights)
        yield Export(model, name, out, source)


def tokens(model: ClientModel, folder: Path) -> Iterator[Export]:
    """A model whose weights say nothing: its vocabulary is asked."""
    source = compressed(model, folder, "lossless")
    out = folder / f"{source.name}.gguf"
    taut.export(source, out)
    yield Export(model, "vocabulary", out, source)


def packed(model: ClientModel, folder: Path) -> Iterator[Export]:
    """Each grid of compressed-tensors, as the schemes of the file say."""
    schemes = {"int8": _ACTIVATIONS, "int4:g32": _HALF, "int4:g32,asym": _HALF}
    for scheme, off in schemes.items():
        source = compressed(model, folder, scheme)
        out = folder / f"{source.name}-packed"
        if not out.exists():
            taut.export(source, out, to="compressed-tensors")
        yield Export(model, scheme, out, source, perplexity_off=off, dtype="bfloat16")


def itself(model: ClientModel, folder: Path) -> Iterator[Export]:
    """The Taut folder as it is, which vLLM finds a loader for: bit-exact, and at 4 bits."""
    yield Export(model, "Taut folder", _taut(model, folder), _taut(model, folder), dtype="float32")
    small = folder / f"{model.folder.name}-4-bits"
    if not small.exists():
        taut.compress(model.folder, small, bits=4, effort="fast")
    yield Export(model, "Taut folder, 4 bits", small, small, dtype="float32")


def _taut(model: ClientModel, folder: Path) -> Path:
    return compressed(model, folder, "lossless")


def onnx(model: ClientModel, folder: Path, *, by_folder: bool) -> Iterator[Export]:
    """float32, float16 and int8 with activations rounded as they come."""
    source = compressed(model, folder, "lossless")
    home = folder / "transformers-js"
    names = {"float32": "model", "float16": "model_fp16", "int8": "model_int8"}
    if not home.exists():
        shutil.copytree(model.folder, home, ignore=shutil.ignore_patterns("*.safetensors"))
        (home / "onnx").mkdir()
    short = {"float32": "fp32", "float16": "fp16", "int8": "int8"}
    for weights, stem in names.items():
        out = home / "onnx" / f"{stem}.onnx"
        if not out.exists():
            taut.export(source, out, weights=weights)
        path = home if by_folder else out
        least = 0.98 if weights == "int8" else 0.9999
        yield Export(model, weights, path, source, cosine=least, dtype=short[weights])


def device(model: ClientModel, folder: Path, client: str) -> Iterator[Export]:
    """float32, and int8 with activations rounded as they come; the client writes them itself."""
    source = compressed(model, folder, "lossless")
    for weights, least in (("float32", 0.9999), ("int8", 0.97)):
        out = folder / f"{model.folder.name}-{weights}{DEVICES[client]}"
        yield Export(model, weights, out, source, cosine=least, weights=weights)


def compressed(model: ClientModel, folder: Path, scheme: str) -> Path:
    """The Taut folder of a model whose matrices within layers have a scheme."""
    out = folder / f"{model.folder.name}-{scheme.replace(':', '-').replace(',', '-')}"
    if not out.exists():
        infos = open_source(model.folder).infos
        inner = [one.name for one in infos if len(one.shape) == 2 and _LAYER.search(one.name)]
        taut.compress(model.folder, out, plan=dict.fromkeys(inner, scheme))
    return out
