"""Documents to full windows of tokens: one after the other, parted by the end-of-text token.

A network that sees only what stands before a token learns nothing from padding, and its kernels
want equal lengths. So documents are joined and cut, as in its training. Each window begins with
the token that the tokenizer begins texts with, where there is one: some networks give noise
without it. What does not fill the last window is left out, and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from taut.errors import ArgumentError
from taut.networks.documents import Document

if TYPE_CHECKING:
    from taut.networks.text_data import TextData
    from taut.networks.tokens import FolderTokenizer

USUAL: Final = 512
_FEW: Final = 32  # windows, below which a length that nobody asked for is halved
_SHORTEST: Final = 64
_TOKENS_A_BATCH: Final = 4096
_LOGITS_A_BATCH: Final = 1 << 25


@dataclass(frozen=True)
class Windows:
    """Tokens as int64 (windows, length), with notes on how they came about."""

    tokens: np.ndarray
    notes: tuple[str, ...]


def packed(
    documents: Sequence[Document], tokenizer: FolderTokenizer, data: TextData, where: str
) -> Windows:
    """Join documents and cut them into windows.

    Raises:
        ArgumentError: there are too few tokens, one is not of the vocabulary, or the length is
            more than the network takes.
    """
    joined = tokenizer.joined(documents, where)
    length = window_length(data, tokenizer.longest, where)
    head = tokenizer.head
    if data.length is None:
        while joined.size // (length - len(head)) < _FEW and length > _SHORTEST:
            length //= 2
    if joined.size < 2:
        raise ArgumentError(f"{where}: has {joined.size} tokens; a window wants two at least")
    each = min(length - len(head), joined.size)
    count = joined.size // each
    cut = joined[: count * each].reshape(count, each)
    tokens = np.concatenate([np.tile(np.array(head, np.int64), (count, 1)), cut], axis=1)
    left = joined.size - count * each
    told = f"; the last {left:,} tokens do not fill one, and are left out" if left else ""
    note = (
        f"{where}: {len(documents):,} texts of {joined.size:,} tokens are {count:,} windows of "
        f"{tokens.shape[1]} tokens{told}"
    )
    return Windows(spread(tokens, data.windows), (note, *_few(tokens, where)))


def window_length(data: TextData, longest: int | None, where: str) -> int:
    """The length asked for, or the usual one; raises ArgumentError if the network takes less."""
    if data.length is None:
        return min(USUAL, longest or USUAL)
    if data.length < 2 or data.length > (longest or data.length):
        least = f"; the network takes at most {longest}" if longest else ""
        raise ArgumentError(f"{where}: windows of {data.length} tokens{least}, at least 2")
    return data.length


def spread(tokens: np.ndarray, most: int | None) -> np.ndarray:
    """At most so many windows, evenly spread over all."""
    count = len(tokens)
    if most is None or most >= count:
        return tokens
    return tokens[np.arange(most) * count // most]


def blended(own: np.ndarray, other: np.ndarray, share: float) -> np.ndarray:
    """The windows, with so many of the other ones among them that these are `share` of all.

    They are spread over all of them, and taken evenly from all of the others; none are where the
    share of so few windows is less than half a one.
    """
    wanted = min(len(other), round(len(own) * share / (1 - share)))
    if not wanted:
        return own
    chosen = spread(other, wanted)
    places = (np.arange(wanted) + 0.5) * len(own) / wanted
    return np.insert(own, places.astype(int), chosen, axis=0)


def window_batches(
    tokens: np.ndarray, accepted: frozenset[str] | None, vocabulary: int | None
) -> list[object]:
    """Batches of some 4,096 tokens, as a network's arguments; of fewer for a large vocabulary.

    A batch's logits, a number for each token and word, then take some 128 MB.
    """
    import torch

    ids = torch.from_numpy(np.ascontiguousarray(tokens, np.int64))
    most = min(_TOKENS_A_BATCH, _LOGITS_A_BATCH // (vocabulary or 1))
    each = max(1, most // ids.shape[1])
    batches: list[object] = []
    for begin in range(0, len(ids), each):
        part = ids[begin : begin + each]
        batch = {"input_ids": part, "attention_mask": torch.ones_like(part)}
        batches.append({n: t for n, t in batch.items() if accepted is None or n in accepted})
    return batches


def _few(tokens: np.ndarray, where: str) -> tuple[str, ...]:
    if tokens.size >= _TOKENS_A_BATCH:
        return ()
    return (f"{where}: {tokens.size:,} tokens are few; tens of thousands judge better",)
