"""Texts to a network's inputs, by the tokenizer of its folder."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from taut.errors import ArgumentError
from taut.extras import need_extra
from taut.networks.calls import told

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

_FILES: Final = (
    *("tokenizer.json", "tokenizer_config.json", "vocab.json", "vocab.txt"),
    *("tokenizer.model", "spiece.model", "sentencepiece.bpe.model"),
)
_ENDLESS: Final = 1_000_000  # tokenizers that know no limit have 1e30


class Tokenize(Protocol):
    """Texts in, the keyword arguments of the network out, padded to the longest text."""

    def __call__(self, texts: list[str], max_length: int | None = None) -> dict[str, torch.Tensor]:
        """Tokenise; each text is cut after `max_length` tokens, and where the network ends."""


@dataclass(frozen=True)
class FolderTokenizer:
    """A Hugging Face tokenizer; `longest` is the network's limit in tokens, None if it has none.

    `accepted` are the arguments that the network takes, None if it takes any: some tokenizers
    give more than their network can use.
    """

    tokenizer: PreTrainedTokenizerBase
    longest: int | None
    accepted: frozenset[str] | None

    def __call__(self, texts: list[str], max_length: int | None = None) -> dict[str, torch.Tensor]:
        """Tokenise; each text is cut after `max_length` tokens, and where the network ends."""
        limits = [limit for limit in (max_length, self.longest) if limit is not None]
        batch = self.tokenizer(
            list(texts),
            padding=True,
            truncation=bool(limits),
            max_length=min(limits, default=None),
            return_tensors="pt",
        )
        accepted = batch.keys() if self.accepted is None else self.accepted
        return {name: tensor for name, tensor in batch.items() if name in accepted}


def open_tokenizer(folder: Path, module: torch.nn.Module) -> FolderTokenizer | None:
    """The tokenizer in a model folder for the network made of it; None if none is there.

    Raises:
        ArgumentError: there is one, but it cannot be loaded.
    """
    if not any((folder / name).is_file() for name in _FILES):
        return None
    transformers = need_extra("transformers", "hf", f"{folder}: to read its tokenizer takes")
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # transformers names no set of errors
        raise ArgumentError(f"{folder}: its tokenizer cannot be loaded ({told(error)})") from error
    config = getattr(module, "config", None)
    return wrap_tokenizer(tokenizer, module, getattr(config, "max_position_embeddings", None))


def wrap_tokenizer(
    tokenizer: PreTrainedTokenizerBase, module: torch.nn.Module, longest: int | None
) -> FolderTokenizer:
    """Make a tokenizer ready for batches; `longest` in tokens is what the network can take."""
    if tokenizer.pad_token is None:  # GPT-2 has none; padding is masked, so any token will do
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
    limits = [tokenizer.model_max_length, longest or _ENDLESS, _ENDLESS]
    least = int(min(limits))
    return FolderTokenizer(tokenizer, least if least < _ENDLESS else None, _accepted(module))


def _accepted(module: torch.nn.Module) -> frozenset[str] | None:
    parameters = inspect.signature(module.forward).parameters.values()
    if any(one.kind == one.VAR_KEYWORD for one in parameters):
        return None
    return frozenset(one.name for one in parameters)
