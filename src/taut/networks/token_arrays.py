"""Arrays of tokens: one long row that is cut into windows, or windows as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from taut.errors import ArgumentError
from taut.networks.generated_windows import with_generated
from taut.networks.text_batches import Batches, with_default
from taut.networks.token_networks import check_vocabulary, vocabulary_of
from taut.networks.tokens import FolderTokenizer, accepted_by
from taut.networks.windows import spread, window_batches, window_length
from taut.progress import Progress

if TYPE_CHECKING:
    from taut.networks.models import LoadedModel
    from taut.networks.text_data import TextData


def are_tokens(array: np.ndarray, model: LoadedModel, data: TextData) -> bool:
    """Whether an array is of tokens: whole numbers, for a network that has a vocabulary.

    They are too where something is asked for that only tokens have: a length, or other windows
    beside them.
    """
    if array.dtype.kind not in "iu" or array.ndim not in (1, 2):
        return False
    asked = (data.length, data.blend, data.generated)
    return vocabulary_of(model.module) is not None or any(one is not None for one in asked)


def token_batches(
    array: np.ndarray,
    model: LoadedModel,
    data: TextData,
    where: str,
    progress: Progress | None = None,
) -> Batches:
    """The batches of tokens of shape (n,) or (windows, length), any whole numbers.

    `progress` is told how far windows are that are generated.

    Raises:
        ArgumentError: a token is not of the vocabulary, or windows are longer than the network
            takes, or there are none.
    """
    longest = _longest(model)
    tokens, notes = _windows(array, data, longest, where)
    size = vocabulary_of(model.module)
    tokens = tokens.astype(np.int64)
    check_vocabulary(tokens, size, where)
    tokens = spread(tokens, data.windows)
    if data.blend:
        if not isinstance(model.tokenize, FolderTokenizer):
            raise ArgumentError(f"{where}: blend: wants the tokenizer of a model folder")
        tokens, more = with_default(tokens, model.tokenize, data.blend, where)
        notes = (*notes, *more)
    if data.generated:
        tokens, more = with_generated(model.module, tokens, data.generated, where, progress)
        notes = (*notes, *more)
    if size is None:  # a network of the caller's own takes them as its one argument
        batches = window_batches(tokens, frozenset(["input_ids"]), size)
        return [cast("dict[str, object]", batch)["input_ids"] for batch in batches], notes
    return window_batches(tokens, accepted_by(model.module), size), notes


def _windows(
    array: np.ndarray, data: TextData, longest: int | None, where: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    if array.ndim == 2:
        if not array.size:
            raise ArgumentError(f"{where}: has no tokens (its shape is {array.shape})")
        if data.length not in (None, array.shape[1]):
            raise ArgumentError(
                f"{where}: has windows of {array.shape[1]} tokens, and length={data.length}; leave "
                "length out, or give one row of tokens"
            )
        if longest is not None and array.shape[1] > longest:
            raise ArgumentError(
                f"{where}: has windows of {array.shape[1]} tokens; the network takes at most "
                f"{longest}"
            )
        return array, ()
    length = min(window_length(data, longest, where), len(array))
    if length < 2:
        raise ArgumentError(f"{where}: has {len(array)} tokens; a window wants two at least")
    count = len(array) // length
    left = len(array) - count * length
    told = f"; the last {left:,} do not fill one, and are left out" if left else ""
    note = f"{where}: {len(array):,} tokens are {count:,} windows of {length}{told}"
    return array[: count * length].reshape(count, length), (note,)


def _longest(model: LoadedModel) -> int | None:
    if isinstance(model.tokenize, FolderTokenizer):
        return model.tokenize.longest
    config: Any = getattr(model.module, "config", None)
    found = getattr(config, "max_position_embeddings", None)
    return found if isinstance(found, int) else None
