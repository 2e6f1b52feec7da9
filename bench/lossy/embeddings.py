"""What a compression does to the encoder's work: its sentence embeddings against the original's."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.numpy import load_file

from bench.data.assets import BESIDE
from bench.data.tensors import Array
from taut.demo.minilm import SentenceEncoder, find_minilm, read_sentences
from taut.demo.similarity import mean_cosine

_STSB = BESIDE / "text" / "stsb" / "sts-dev.csv"


def sentences(count: int) -> tuple[list[str], str]:
    """Return `count` sentences of STS-B's dev set ($TAUT_STSB, or beside the checkout), or the
    demo's own where that is missing; and the name of what it is.
    """
    path = Path(os.environ.get("TAUT_STSB", _STSB))
    if not path.is_file():
        own = read_sentences()
        return own, f"the demo's {len(own)} sentences"
    with path.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    step = max(1, len(rows) // count)
    return [row[5] for row in rows[::step]][:count], f"{count} sentences of STS-B dev"


class Fidelity:
    """Mean cosine between embeddings made with the original weights and with others."""

    def __init__(self, count: int) -> None:
        texts, self.about = sentences(count)
        folder = find_minilm()
        self._encoder = SentenceEncoder(folder, texts)
        self._reference = self._embed(load_file(folder / "model.safetensors"))

    def cosine(self, weights: Mapping[str, Array]) -> float:
        """Return the mean cosine for float32 weights by their names in the file."""
        return mean_cosine(self._reference, self._embed(weights))

    def _embed(self, weights: Mapping[str, Array]) -> Array:
        network = self._encoder.blank()
        state = {name: torch.tensor(values) for name, values in weights.items()}
        missing, _ = network.load_state_dict(state, strict=False)
        if missing:
            raise RuntimeError(f"no weights for {', '.join(missing)}")
        return self._encoder.embed(network)
