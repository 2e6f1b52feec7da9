"""Texts to a network's inputs, by the tokenizer of its folder."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from taut.errors import ArgumentError
from taut.extras import need_extra
from taut.networks.calls import told
from taut.networks.documents import Chat, Document
from taut.networks.token_networks import check_vocabulary, vocabulary_of

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

_FILES: Final = (
    *("tokenizer.json", "tokenizer_config.json", "vocab.json", "vocab.txt"),
    *("tokenizer.model", "spiece.model", "sentencepiece.bpe.model"),
)
_ENDLESS: Final = 1_000_000  # tokenizers that know no limit have 1e30
_AT_ONCE: Final = 1_000  # texts tokenised together
_UNKNOWN: Final = 0.05  # of a text's tokens, above which it is of another language or script
_CLOSING: Final = 3  # tokens at a chat's end among which its template may have ended the text


class Tokenize(Protocol):
    """Texts in, the keyword arguments of the network out, padded to the longest text."""

    def __call__(self, texts: list[str], max_length: int | None = None) -> dict[str, torch.Tensor]:
        """Tokenise; each text is cut after `max_length` tokens, and where the network ends."""


@dataclass(frozen=True)
class FolderTokenizer:
    """A Hugging Face tokenizer; `longest` is the network's limit in tokens, None if it has none.

    `accepted` are the arguments that the network takes, None if it takes any: some tokenizers
    give more than their network can use. `vocabulary` is how many tokens the network knows.
    """

    tokenizer: PreTrainedTokenizerBase
    longest: int | None
    accepted: frozenset[str] | None
    vocabulary: int | None = None

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
        self._settle(batch["input_ids"], batch.get("attention_mask"))
        accepted = batch.keys() if self.accepted is None else self.accepted
        return {name: tensor for name, tensor in batch.items() if name in accepted}

    def _settle(self, ids: torch.Tensor, mask: torch.Tensor | None) -> None:
        """Refuse tokens that the network has not; padding, which is masked, becomes the first."""
        if self.vocabulary is None:
            return
        if mask is not None:
            ids.masked_fill_((mask == 0) & (ids >= self.vocabulary), 0)
        check_vocabulary(ids.numpy(), self.vocabulary, "texts")

    @property
    def head(self) -> tuple[int, ...]:
        """The token that texts begin with; none of many tokenizers, or if the network lacks it."""
        first = self.tokenizer("a")["input_ids"][:1]
        begins = first == [self.tokenizer.bos_token_id] and self._has(first[0])
        return tuple(first) if begins else ()

    def _has(self, token: int) -> bool:
        """Whether the network has an embedding for a token, as far as it is known."""
        return self.vocabulary is None or token < self.vocabulary

    def knows(self, text: str) -> bool:
        """Whether the tokenizer has a token of its own for nearly all of a text."""
        unknown = self.tokenizer.unk_token_id
        if unknown is None:
            return True
        ids = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return bool(ids.count(unknown) <= _UNKNOWN * len(ids))

    def plain(self, document: Document, where: str) -> str:
        """A document as text: a chat by the template of the tokenizer.

        Raises:
            ArgumentError: there is no template, or it fails; or the document is of tokens.
        """
        if isinstance(document, str):
            return document
        if not isinstance(document, Chat):
            raise ArgumentError(f"{where}: tokens have no text; give texts to this network")
        if not self.tokenizer.chat_template:
            raise ArgumentError(
                f"{where}: chats want a chat template, and the folder's tokenizer has none; put a "
                'chat_template.jinja beside it, or give texts ({"text": "..."})'
            )
        try:
            messages: list[dict[str, Any]] = [dict(one) for one in document.messages]
            return str(self.tokenizer.apply_chat_template(messages, tokenize=False))
        except Exception as error:  # a template may raise anything
            raise ArgumentError(f"{where}: the chat template fails ({told(error)})") from error

    def joined(self, documents: Sequence[Document], where: str) -> np.ndarray:
        """All documents as one row of int64 tokens, each ended by the end-of-text token.

        Some tokenizers have one that the network does not know; then nothing stands between them.

        Raises:
            ArgumentError: a chat has no template, or a token is not of the vocabulary.
        """
        end = self.tokenizer.eos_token_id
        rows = []
        for document, ids in self._tokenised(documents, where):
            rows.append(ids)
            closing = ids[-_CLOSING:] if isinstance(document, Chat) else ids[-1:]
            if end is not None and end not in closing and self._has(end):
                rows.append(np.array([end], np.int64))
        tokens = np.concatenate(rows) if rows else np.zeros(0, np.int64)
        return tokens

    def _tokenised(
        self, documents: Sequence[Document], where: str
    ) -> Iterator[tuple[Document, np.ndarray]]:
        for begin in range(0, len(documents), _AT_ONCE):
            some = documents[begin : begin + _AT_ONCE]
            texts = [self.plain(d, where) for d in some if not isinstance(d, np.ndarray)]
            found = iter(
                self.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
                if texts
                else ()
            )
            for one in some:
                ids = one if isinstance(one, np.ndarray) else np.array(next(found), np.int64)
                check_vocabulary(ids, self.vocabulary, where)
                yield one, ids


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
    return FolderTokenizer(
        tokenizer,
        least if least < _ENDLESS else None,
        accepted_by(module),
        vocabulary_of(module),
    )


def accepted_by(module: torch.nn.Module) -> frozenset[str] | None:
    """The names of the arguments that a network takes; None if it takes any."""
    parameters = inspect.signature(module.forward).parameters.values()
    if any(one.kind == one.VAR_KEYWORD for one in parameters):
        return None
    return frozenset(one.name for one in parameters)
