"""What calibration through onnxruntime wins over none, at the same size: docs/onnx.md.

    python -m bench.runtime.onnx_source [--model resnet20 minilm] [--bits 3 2]

Each network is exported to an .onnx, compressed with and without data, given back as an .onnx and
judged by onnxruntime: ResNet-20 by its accuracy on 2,000 test images of CIFAR-10, MiniLM
by the cosine of its embeddings with the original's on 600 sentences of STS-B.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import taut
from bench.data.assets import asset
from bench.data.draws import drawn, places
from taut.demo.minilm import find_minilm
from taut.networks.onnx_session import open_session

Judge = Callable[[Path], float]


@dataclass(frozen=True)
class Case:
    """An exported model, its calibration batches, and what judges an .onnx of it."""

    path: Path
    calib: Sequence[object]
    judge: Judge


def resnet20(folder: Path) -> Case:
    """ResNet-20 with 512 training images."""
    from bench.classics import cifar

    task = cifar.resnet20()
    network = task.network()
    network.load_state_dict(task.weights, strict=False)
    mean, deviation = (torch.as_tensor(v).view(1, 3, 1, 1) for v in (task.mean, task.deviation))

    def scaled(images: torch.Tensor) -> torch.Tensor:
        return (images.float() / 255 - mean) / deviation

    picks = places(len(task.train), 512)
    calib = list(scaled(task.train.images[picks]).split(16))
    judged = task.test[torch.tensor(places(len(task.test), 2000))]
    tests, labels = scaled(judged.images), np.asarray(judged.labels)
    path = folder / "resnet20.onnx"
    _export(network, {"x": tests[:2]}, path, ({0: torch.export.Dim("n")},))

    def accuracy(path: Path) -> float:
        session = open_session(path, threads=0)
        found = np.concatenate(
            [session.run(None, {"x": part.numpy()})[0] for part in tests.split(500)]
        )
        return float((found.argmax(1) == labels).mean())

    return Case(path, calib, accuracy)


class Tokens(torch.nn.Module):
    """MiniLM's vectors of tokens, by operations that can be exported."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import AutoModel

        self.inner = AutoModel.from_pretrained(find_minilm(), attn_implementation="eager")

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Token ids and mask (texts, tokens) -> (texts, tokens, 384)."""
        found: torch.Tensor = self.inner(
            input_ids=input_ids, attention_mask=attention_mask
        ).last_hidden_state
        return found


def minilm(folder: Path) -> Case:
    """MiniLM with 256 sentences of SST-2."""
    lines = asset("text/sentconv/stsa.binary.train").read_text().splitlines()
    texts = [line.split(None, 1)[1] for line in lines if len(line) > 10]
    calib = _batches(sorted(drawn(texts, 256), key=len))
    with asset("text/stsb/sts-dev.csv").open(encoding="utf-8") as file:
        rows = drawn(list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)), 300)
    tests = _batches([row[5] for row in rows] + [row[6] for row in rows])
    path = folder / "minilm.onnx"
    axes = {0: torch.export.Dim("n"), 1: torch.export.Dim("t")}
    _export(Tokens(), tests[0], path, (axes, axes))
    original = _embeddings(path, tests)
    return Case(path, calib, lambda one: float((_embeddings(one, tests) * original).sum(1).mean()))


def _batches(texts: Sequence[str]) -> list[dict[str, torch.Tensor]]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(find_minilm())
    found = []
    for begin in range(0, len(texts), 16):
        some = list(texts[begin : begin + 16])
        both = tokenizer(some, return_tensors="pt", padding=True, truncation=True)
        found.append({name: both[name] for name in ("input_ids", "attention_mask")})
    return found


def _embeddings(path: Path, batches: Sequence[dict[str, torch.Tensor]]) -> np.ndarray:
    """Run an .onnx: one vector of unit length a text, the mean over its tokens."""
    session, found = open_session(path, threads=0), []
    for batch in batches:
        hidden = session.run(None, {name: one.numpy() for name, one in batch.items()})[0]
        mask = batch["attention_mask"].numpy()[..., None]
        means = (hidden * mask).sum(1) / mask.sum(1)
        found.append(means / np.linalg.norm(means, axis=1, keepdims=True))
    return np.concatenate(found)


CASES = {"resnet20": resnet20, "minilm": minilm}


def _export(
    network: torch.nn.Module, batch: dict[str, torch.Tensor], path: Path, axes: object
) -> None:
    with torch.no_grad():
        torch.onnx.export(
            network.eval(),
            tuple(batch.values()),
            path,
            input_names=list(batch),
            dynamo=True,
            dynamic_shapes=axes,
            external_data=False,
            verbose=False,
        )


def main() -> None:
    """Print a row for each model, size and way."""
    asked = command_line().parse_args()
    with tempfile.TemporaryDirectory() as name:
        for model in asked.model:
            case = CASES[model](Path(name))
            print(f"{model}: original {case.judge(case.path):.4f}", flush=True)
            packed, back = Path(name, "m.taut.safetensors"), Path(name, "back.onnx")
            for bits in asked.bits:
                for told, calib in (("without data", None), ("with data", case.calib)):
                    found = taut.compress(case.path, packed, bits=bits, calib=calib, force=True)
                    taut.decompress(packed, back, force=True)
                    print(
                        f"{model}  {bits:g} bits  {told:12}  {found.size:>9} bytes  "
                        f"{case.judge(back):.4f}  {found.seconds:.0f} s",
                        flush=True,
                    )


def command_line() -> argparse.ArgumentParser:
    """Return the parser of what is typed behind the script's name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--bits", nargs="+", type=float, default=[3.0, 2.0])
    return parser


if __name__ == "__main__":
    main()
