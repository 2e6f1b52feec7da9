"""A vocabulary as GGUF has it: a text and a type for every row of the embedding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from gguf import GGUFWriter, SpecialVocab

NORMAL: Final = 1  # what GGUF calls the types of tokens
UNKNOWN: Final = 2
CONTROL: Final = 3
USER_DEFINED: Final = 4
UNUSED: Final = 5
BYTE: Final = 6


class UnwrittenTokenizerError(Exception):
    """A tokenizer that GGUF has no words for; its text says which, and why."""


@dataclass(frozen=True)
class GgufVocabulary:
    """What a runtime splits text by: texts and types, one for each row of the embedding.

    `model` is GGUF's name of the algorithm (llama: SentencePiece's pairs; gpt2: byte-level pairs;
    bert: WordPiece) and `pre` that of how text is split before. Of pairs of pieces the one with
    the best of `scores` is joined first; `flags` are metadata below `tokenizer.ggml`.
    """

    model: str
    pre: str
    texts: Sequence[str]
    types: Sequence[int]
    scores: Sequence[float] | None = None
    flags: Mapping[str, bool] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def add_to(self, writer: GGUFWriter, special: SpecialVocab) -> None:
        """Write it; `special` are the tokens with a meaning, and pairs in their order."""
        writer.add_tokenizer_model(self.model)
        writer.add_tokenizer_pre(self.pre)
        writer.add_token_list(list(self.texts))
        writer.add_token_types(list(self.types))
        if self.scores is not None:
            writer.add_token_scores(list(self.scores))
        for flag, value in self.flags.items():
            writer.add_bool(f"tokenizer.ggml.{flag}", value)
        special.add_to_gguf(writer, quiet=True)


@dataclass(frozen=True)
class Piece:
    """A text, and whether the tokenizer gives it a meaning of its own."""

    text: str
    type: int = NORMAL


def pieces_of(vocab: Mapping[str, int], added: Iterable[Mapping[str, Any]]) -> dict[int, Piece]:
    """All tokens by number; those that were added take the place of others."""
    found = {int(number): Piece(str(text)) for text, number in vocab.items()}
    for token in added:
        kind = CONTROL if token.get("special") else USER_DEFINED
        found[int(token["id"])] = Piece(str(token["content"]), kind)
    return found


def rows(pieces: Mapping[int, Piece], size: int) -> list[Piece]:
    """A piece for every number below `size`; numbers without a token are told as unused.

    Raises:
        UnwrittenTokenizerError: there are more tokens than that.
    """
    if (most := max(pieces, default=-1)) >= size:
        raise UnwrittenTokenizerError(f"one of {most + 1} tokens for an embedding of {size} rows")
    return [pieces.get(number, Piece(f"[PAD{number}]", UNUSED)) for number in range(size)]
