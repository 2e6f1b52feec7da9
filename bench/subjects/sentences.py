"""MiniLM as a subject: its embeddings of held-out sentences beside the original's.

Sentences are drawn at random from all genres of a set, with fixed seeds. None of the test is in
either calibration set.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, ClassVar

import numpy as np
import torch
from safetensors.numpy import load_file
from tokenizers import Tokenizer
from transformers import BertConfig, BertModel

from bench.data.assets import asset
from bench.data.draws import drawn
from bench.data.tensors import Array
from bench.subjects.subject import Asked, Subject, fill
from taut.demo.minilm import find_minilm
from taut.demo.similarity import mean_cosine
from taut.networks import TextData
from taut.networks.data_files import read_documents

_BATCH = 32
_TOKENS = 64  # longer texts are cut
_ASKED = {
    "minilm_in": (Asked(1.85, 0.05), Asked(2.35, 0.02), Asked(3.2, 0.005)),
    "minilm_blended": (),
    "minilm_out": (Asked(2.2, 0.05), Asked(2.75, 0.02)),
    "minilm_linear": (Asked(1.95, 0.058), Asked(2.4, 0.028)),
    "minilm_linear_out": (),
}


class Embedder(BertModel):  # type: ignore[no-untyped-call,misc,unused-ignore]
    """BERT that gives one vector of unit length a text: the mean over its tokens."""

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Embed token ids (texts, tokens) as float32 (texts, 384)."""
        states = super().forward(input_ids, attention_mask).last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(states.dtype)
        pooled = (states * mask).sum(1) / mask.sum(1)
        return torch.nn.functional.normalize(pooled, dim=1)


class MiniLM(Subject):
    """The encoder whole, or the weights of its linear layers alone; `name` says which."""

    measures: ClassVar = {
        "loss": "1 - cosine",
        "sst2": "on SST-2",
        "wiki": "on WikiText-2",
        "spearman": "STS-B Spearman",
    }
    floor = 1e-6

    def __init__(self, name: str, thin: int = 1) -> None:
        self.name = name
        self.network = name.removesuffix("_out").removesuffix("_in").removesuffix("_blended")
        self.asked = _ASKED[name]
        self._linear = "linear" in name
        self._folder = find_minilm()
        self._tokenizer = Tokenizer.from_file(str(self._folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(_TOKENS)
        texts = short_texts() if name.endswith("_out") else scored_texts()
        origin = (
            "SST-2 train, under 60 characters" if name.endswith("_out") else "STS-B dev, all genres"
        )
        if name.endswith("_blended"):
            texts += general_texts()
            origin += ", and a tenth of them paragraphs of Taut's own texts"
        what = "linear layers of the encoder" if self._linear else "all parameters"
        self.about = f"MiniLM-L6, {what}; calibrated on {len(texts)} sentences of {origin}"
        self.calibration = [batch for _, batch in self._batches(texts)]
        self._judged = self.module()
        self.weights = {n: v.numpy().copy() for n, v in self._judged.state_dict().items()}
        self._tests = _Tests(thin)
        self._reference = self._embed()

    def module(self) -> torch.nn.Module:
        """Return the encoder; where only linear layers count, all else are constant buffers."""
        network: torch.nn.Module = Embedder(BertConfig.from_pretrained(self._folder))
        named = load_file(self._folder / "model.safetensors")
        del named["embeddings.position_ids"]  # which the network makes by itself
        fill(network, named)
        if self._linear:
            _freeze(network)
        return network.eval()

    def fidelity(self, weights: Mapping[str, Array]) -> dict[str, float]:
        """Return mean 1 - cosine on three kinds of text, and Spearman's rho with human scores."""
        fill(self._judged, weights)
        embeddings = self._embed()
        tests = self._tests
        found = {
            key: 1 - mean_cosine(self._reference[rows], embeddings[rows])
            for key, rows in (("loss", tests.stsb), ("sst2", tests.sst2), ("wiki", tests.wiki))
        }
        return found | {"spearman": tests.spearman(embeddings)}

    def distance(self, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        """Sum half the squared distances: 1 - cosine, of vectors of unit length."""
        return (before - after).square().sum() / 2

    def _embed(self) -> Array:
        out = np.empty((len(self._tests.texts), 384), np.float32)
        with torch.inference_mode():
            for rows, batch in self._batches(self._tests.texts):
                out[rows] = self._judged(**batch).numpy()
        return out

    def _batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], dict[str, torch.Tensor]]]:
        """Batches of texts of one length: no padding, so that no position counts but tokens'."""
        rows = [row.ids for row in self._tokenizer.encode_batch(list(texts))]
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        for _, group in groupby(order, key=lambda i: len(rows[i])):
            same = list(group)
            for start in range(0, len(same), _BATCH):
                part = same[start : start + _BATCH]
                ids = torch.tensor([rows[i] for i in part])
                yield part, {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


class _Tests:
    """All held-out texts in one list, and where each kind stands in it."""

    def __init__(self, thin: int) -> None:
        seen = {*scored_texts(), *short_texts()}
        pairs = _pairs("test")
        scored = drawn(pairs, 460)[::thin]
        stsb = drawn(_unique(pairs), 400, without=seen)[::thin]
        sst2 = drawn([text for _, text in _labelled("test")], 200, without=seen)[::thin]
        lines = asset("text/wikitext2/test.txt").read_text(encoding="utf-8").splitlines()
        wiki = [line.strip() for line in lines if len(line) > 40 and not line.startswith(" =")]
        wiki = drawn(wiki, 200)[::thin]
        self.texts = list(dict.fromkeys([*stsb, *sst2, *wiki, *_unique(scored)]))
        at = {text: i for i, text in enumerate(self.texts)}
        self.stsb, self.sst2, self.wiki = ([at[t] for t in kind] for kind in (stsb, sst2, wiki))
        self._first = [at[first] for first, _, _ in scored]
        self._second = [at[second] for _, second, _ in scored]
        self._scores = [score for _, _, score in scored]

    def spearman(self, embeddings: Array) -> float:
        from scipy.stats import spearmanr  # type: ignore[import-untyped,unused-ignore]

        similar = (embeddings[self._first] * embeddings[self._second]).sum(1)
        return float(spearmanr(similar, self._scores).statistic)


def scored_texts(count: int = 1024) -> list[str]:
    """Draw `count` sentences from all genres of STS-B's dev set."""
    return drawn(_unique(_pairs("dev")), count)


def short_texts(count: int = 256, limit: int = 60) -> list[str]:
    """Draw `count` sentences of SST-2's training set shorter than `limit` characters."""
    return drawn([text for _, text in _labelled("train") if len(text) < limit], count)


def general_texts(count: int = 114) -> list[str]:
    """Draw `count` paragraphs of the texts that come with Taut: a tenth, beside 1,024 sentences."""
    whole = (str(one) for one in read_documents(TextData("default"))[0])
    paragraphs = (" ".join(one.split()) for text in whole for one in text.split("\n\n"))
    return drawn([one for one in paragraphs if len(one) > 40], count)


def _freeze(network: torch.nn.Module) -> None:
    """Turn every parameter but the weights of the encoder's linear layers into a constant."""
    kept = {
        layer.weight
        for name, layer in network.named_modules()
        if isinstance(layer, torch.nn.Linear) and name.startswith("encoder.")
    }
    for module in network.modules():
        own: dict[str, Any] = dict(module.named_parameters(recurse=False))
        for name, values in own.items():
            if values not in kept:
                delattr(module, name)
                module.register_buffer(name, values.detach(), persistent=False)


def _pairs(split: str) -> list[tuple[str, str, float]]:
    """Read STS-B: two sentences and how alike people found them, 0 to 5."""
    path = asset(f"text/stsb/sts-{split}.csv")
    with path.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [(row[5], row[6], float(row[4])) for row in rows]


def _unique(pairs: Sequence[tuple[str, str, float]]) -> list[str]:
    return list(dict.fromkeys(text for first, second, _ in pairs for text in (first, second)))


def _labelled(split: str) -> list[tuple[str, str]]:
    path = asset(f"text/sentconv/stsa.binary.{split}")
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return [(label, text.strip()) for label, _, text in (line.partition(" ") for line in lines)]
