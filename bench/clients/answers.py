"""What a client answered, what PyTorch answers with the same weights, and whether they agree."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import AutoModel, AutoModelForCausalLM

import taut
from bench.clients.exports import Export

Asked = tuple[tuple[tuple[int, ...], ...], tuple[str, ...]]  # tokens to score, and texts


@dataclass(frozen=True)
class Answer:
    """Tokens of texts, log-probabilities of tokens, vectors of texts: what was asked for."""

    client: str
    tokens: list[list[int]] = field(default_factory=list)
    bare: list[list[int]] = field(default_factory=list)  # tokens without those that begin and end
    logprobs: list[list[float]] = field(default_factory=list)
    embeddings: list[list[float]] = field(default_factory=list)
    latency: float = 0.0

    @staticmethod
    def of(found: dict[str, Any]) -> Answer:
        """What a client printed; only as many tokens are scored as it has time for."""
        known = ("client", "tokens", "bare", "logprobs", "embeddings", "latency")
        return Answer(**{key: found[key] for key in known if key in found})

    def scored(self, like: Answer) -> np.ndarray:
        """Log-probabilities of those tokens that `like` scored too."""
        return np.concatenate([np.array(one) for one in self.logprobs[: len(like.logprobs)]])


def reference(export: Export) -> Answer:
    """PyTorch's answer, from the weights of the Taut file."""
    return _reference(export.taut, export.model.folder, export.model.embeds, _key(export))


def _key(export: Export) -> Asked:
    return tuple(tuple(ids) for ids in export.model.ids), export.model.texts


@cache
def _reference(file: Path, folder: Path, embeds: bool, asked: Asked) -> Answer:
    ids, texts = asked
    kind = AutoModel if embeds else AutoModelForCausalLM
    net = kind.from_pretrained(folder, dtype=torch.float32).eval()
    weights = {name: values.float() for name, values in _floats(file)}
    net.load_state_dict(weights, strict=False)
    with torch.no_grad():
        rows = [torch.tensor([one]) for one in ids]
        if embeds:
            vectors = [net(one).last_hidden_state[0].mean(0).tolist() for one in rows]
            return Answer("PyTorch", *_tokens(folder, texts), embeddings=vectors)
        chances = [net(one).logits[0].log_softmax(-1) for one in rows]
    scored = [
        [chance[at - 1, one[at]].item() for at in range(1, len(one))]
        for chance, one in zip(chances, ids, strict=True)
    ]
    return Answer("PyTorch", *_tokens(folder, texts), logprobs=scored)


def _floats(file: Path) -> list[tuple[str, torch.Tensor]]:
    held = taut.load(file, framework="torch")
    return [(name, held[name]) for name in held if held[name].is_floating_point()]


def _tokens(folder: Path, texts: tuple[str, ...]) -> tuple[list[list[int]], list[list[int]]]:
    """The tokens of texts, and those without what a text begins and ends with."""
    if not (folder / "tokenizer.json").is_file():
        return [], []
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    bare = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    return [tokenizer.encode(text).ids for text in texts], bare


def judged(found: Answer, wanted: Answer, export: Export) -> tuple[str, dict[str, object]]:
    """Whether the answers are the same, within the export's bounds, and the figures."""
    figures: dict[str, object] = {}
    good = True
    if found.tokens or found.bare:
        same = found.tokens in ([], wanted.tokens) and found.bare in ([], wanted.bare)
        figures["tokens"] = same
        good &= same
    if found.logprobs:
        mine, theirs = found.scored(found), wanted.scored(found)
        off = math.exp(float((theirs - mine).mean())) - 1
        told = float((theirs - mine).std()) / math.sqrt(mine.size)  # the mean's own error
        figures |= {"perplexity": math.exp(-mine.mean()), "wanted": math.exp(-theirs.mean())}
        figures |= {"off": off, "told": told, "count": mine.size}
        good &= abs(off) <= export.perplexity_off + 2 * told
    if found.embeddings and wanted.embeddings:
        least = min(map(_cosine, found.embeddings, wanted.embeddings))
        figures["cosine"] = least
        good &= least >= export.cosine
    return "holds" if good else "differs", figures


def _cosine(mine: list[float], theirs: list[float]) -> float:
    a, b = np.array(mine), np.array(theirs)
    return float(a @ b / math.sqrt((a @ a) * (b @ b)))
