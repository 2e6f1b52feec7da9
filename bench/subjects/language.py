"""A small GPT-2-style language model as a subject: loss on held-out text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from safetensors.numpy import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional
from transformers import GPT2Config, GPT2LMHeadModel

from bench.data.assets import asset
from bench.data.tensors import Array
from bench.subjects.generated import with_generated
from bench.subjects.subject import Asked, Subject, fill

_WORDS, _WIDTH, _LAYERS, _HEADS, _CONTEXT = 1024, 192, 4, 6, 128
_BATCH = 16
_GENERATED = 0.75
_TURNED = ("c_attn.weight", "c_proj.weight", "c_fc.weight")  # transformers has (inputs, outputs)


class Attention(nn.Module):
    """Causal self-attention with one fused projection for query, key and value."""

    def __init__(self) -> None:
        super().__init__()
        self.c_attn = nn.Linear(_WIDTH, 3 * _WIDTH)
        self.c_proj = nn.Linear(_WIDTH, _WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """(windows, tokens, width) -> the same."""
        windows, tokens, _ = x.shape
        parts = self.c_attn(x).view(windows, tokens, 3, _HEADS, -1).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(
            parts[0], parts[1], parts[2], is_causal=True
        )
        out: Tensor = self.c_proj(mixed.transpose(1, 2).flatten(2))
        return out


class Layer(nn.Module):
    """Attention and a two-layer network, each behind a norm and beside a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(_WIDTH)
        self.attn = Attention()
        self.ln_2 = nn.LayerNorm(_WIDTH)
        self.mlp = nn.ModuleDict(
            {"c_fc": nn.Linear(_WIDTH, 4 * _WIDTH), "c_proj": nn.Linear(4 * _WIDTH, _WIDTH)}
        )

    def forward(self, x: Tensor) -> Tensor:
        """(windows, tokens, width) -> the same."""
        x = x + self.attn(self.ln_1(x))
        out: Tensor = x + self.mlp["c_proj"](functional.gelu(self.mlp["c_fc"](self.ln_2(x))))
        return out


class GPT(nn.Module):
    """Token and position embeddings, layers, a norm, and a head tied to the token embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.wte = nn.Embedding(_WORDS, _WIDTH)
        self.wpe = nn.Embedding(_CONTEXT, _WIDTH)
        self.h = nn.ModuleList(Layer() for _ in range(_LAYERS))
        self.ln_f = nn.LayerNorm(_WIDTH)
        self.lm_head = nn.Linear(_WIDTH, _WORDS, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, ids: Tensor) -> Tensor:
        """Token ids (windows, tokens <= 128) -> logits (windows, tokens, words)."""
        x = self.wte(ids) + self.wpe(torch.arange(ids.shape[1]))
        for layer in self.h:
            x = layer(x)
        logits: Tensor = self.lm_head(self.ln_f(x))
        return logits


class GPT2M(Subject):
    """The whole validation text, in windows that do not overlap.

    Half of it is of the kind that the model was trained and is calibrated on (novels), half is the
    index of a book on nature. `gpt2m_generated` has windows among its calibration data that the
    model generates itself, three for each that is given.
    """

    network = "gpt2m"
    measures: ClassVar = {
        "loss": "loss added, nats",
        "perplexity": "perplexity",
        "bpb": "bits per byte",
    }
    floor = 1e-5
    asked = (Asked(peer="GPTQ int4 g128", share=0.6),)

    def __init__(self, name: str, thin: int = 1) -> None:
        self.name = name
        folder = asset("lm_gpt2m")
        self.weights = dict(load_file(folder / "gpt2m.safetensors"))
        inputs, _ = _windows(np.load(folder / "train.npy"))
        chosen = inputs[:: len(inputs) // 512][:512]
        self.about = (
            "GPT-2-style model of 2.0 M parameters; calibrated on 512 windows of 128 tokens"
        )
        if name.endswith("_generated"):
            self.about += ", and 1,536 that it generates itself"
        self._chosen = chosen
        tokens = np.load(folder / "val.npy")
        self._inputs, self._targets = (part[::thin] for part in _windows(tokens))
        text = Tokenizer.from_file(str(folder / "tokenizer.json")).decode(
            self._targets.flatten().tolist(), skip_special_tokens=False
        )
        self._bytes_per_token = len(text.encode()) / self._targets.numel()
        self._judged = GPT().eval()
        self._reference = self._loss(self.weights)

    @cached_property
    def calibration(self) -> Sequence[Tensor]:  # type: ignore[override]
        """Batches of windows, generated when they are first wanted: that takes a minute."""
        chosen = self._chosen
        if self.name.endswith("_generated"):
            chosen = with_generated(as_transformers(self.weights), chosen, _GENERATED)
        return torch.split(chosen, _BATCH)

    def module(self) -> nn.Module:
        """Return the network with the original weights."""
        network = GPT().eval()
        fill(network, self.weights)
        return network

    def fidelity(self, weights: Mapping[str, Array]) -> dict[str, float]:
        """Return the loss added a token, the perplexity, and bits per byte of text."""
        loss = self._loss(weights)
        bits_per_byte = loss / math.log(2) / self._bytes_per_token
        return {"loss": loss - self._reference, "perplexity": math.exp(loss), "bpb": bits_per_byte}

    def _loss(self, weights: Mapping[str, Array]) -> float:
        fill(self._judged, weights)
        total = 0.0
        with torch.inference_mode():
            batches = zip(
                *(torch.split(part, _BATCH) for part in (self._inputs, self._targets)), strict=True
            )
            for ids, targets in batches:
                logits = self._judged(ids).flatten(0, 1)
                total += float(functional.cross_entropy(logits, targets.flatten(), reduction="sum"))
        return total / self._targets.numel()


def as_transformers(weights: Mapping[str, Array], *, gelu: str = "gelu") -> GPT2LMHeadModel:
    """The network as transformers has it, with keys and values kept; `gelu` is its name there."""
    config = GPT2Config(
        vocab_size=_WORDS,
        n_positions=_CONTEXT,
        n_embd=_WIDTH,
        n_layer=_LAYERS,
        n_head=_HEADS,
        activation_function=gelu,
        bos_token_id=0,
        eos_token_id=0,
    )
    network = GPT2LMHeadModel(config).eval()
    turned = {n: v.T if n.endswith(_TURNED) else v for n, v in weights.items()}
    fill(
        network.transformer,
        {n: np.ascontiguousarray(v) for n, v in turned.items() if n != "lm_head.weight"},
    )
    network.tie_weights()
    return network


def _windows(tokens: Array) -> tuple[Tensor, Tensor]:
    """Cut tokens into inputs and the tokens that follow, both int64 (windows, 128)."""
    ids = torch.from_numpy(tokens.astype(np.int64))
    count = (len(ids) - 1) // _CONTEXT
    cut = count * _CONTEXT
    return ids[:cut].view(count, _CONTEXT), ids[1 : cut + 1].view(count, _CONTEXT)
