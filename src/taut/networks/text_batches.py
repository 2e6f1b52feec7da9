"""Texts, chats and tokens as the batches of a network: in full windows, or each by itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from taut.errors import ArgumentError
from taut.networks.data_files import DEFAULT, default_documents, read_documents
from taut.networks.documents import Document, document_of, is_empty_document
from taut.networks.generated_windows import ONLY_LANGUAGE_MODELS, with_generated
from taut.networks.text_data import BLEND, TextData
from taut.networks.token_networks import looks_back, vocabulary_of
from taut.networks.tokens import FolderTokenizer, Tokenize
from taut.networks.windows import blended, packed, spread, window_batches
from taut.progress import Progress

if TYPE_CHECKING:
    from taut.networks.models import LoadedModel

_AT_ONCE: Final = 1_000  # texts tokenised together to learn their lengths


@dataclass(frozen=True)
class Reading:
    """How texts and arrays are cut into batches; `limit` is in samples.

    `progress` is told how far windows are that are generated.
    """

    batch_size: int
    max_length: int
    limit: int | None
    progress: Progress | None = None


Batches = tuple[list[object], tuple[str, ...]]
"""Batches, and notes on how they came about."""


def text_batches(data: TextData, model: LoadedModel, reading: Reading, where: str) -> Batches:
    """The batches of texts, chats or tokens.

    Raises:
        ArgumentError: they cannot be read, or the model has no tokenizer or no chat template.
    """
    tokenizer = model.tokenize
    if tokenizer is None:
        raise ArgumentError(f"{where}: texts want a tokenizer, and the model has none")
    packs = _packs(data, model, where)
    limit = None if packs else reading.limit
    if isinstance(data.source, str):
        documents, notes = read_documents(data, limit)
    else:
        documents, notes = given_documents(data, where)[:limit], []
    if packs:
        assert isinstance(tokenizer, FolderTokenizer)
        cut, more = _windows(documents, tokenizer, data, where)
        if data.generated:
            cut, told = with_generated(model.module, cut, data.generated, where, reading.progress)
            more = (*more, *told)
        rows = cut[: reading.limit]
        return window_batches(rows, tokenizer.accepted, tokenizer.vocabulary), (*notes, *more)
    if data.generated:
        raise ArgumentError(f"{where}: generated: is of full windows; {ONLY_LANGUAGE_MODELS}")
    plain, more = _texts(documents, tokenizer, data, where)
    length = replace(reading, max_length=data.length or reading.max_length)
    return _padded(plain, tokenizer, length), (*notes, *more)


def _texts(
    documents: list[Document], tokenizer: Tokenize, data: TextData, where: str
) -> tuple[list[str], tuple[str, ...]]:
    """Texts that are samples by themselves, and notes."""
    plain = [_plain(one, tokenizer, where) for one in documents]
    notes: list[str] = []
    if data.source == DEFAULT:
        plain = _paragraphs(plain)
    if data.blend:
        plain, note = _blended_texts(plain, data.blend, where)
        notes.append(note)
    if data.windows is not None:
        plain = [plain[int(i)] for i in spread(np.arange(len(plain)), data.windows)]
    return plain, tuple(notes)


def given_documents(data: TextData, where: str) -> list[Document]:
    """The documents of a list in memory."""
    assert isinstance(data.source, Iterable)
    documents = [
        np.asarray(one, np.int64)
        if isinstance(one, (list, tuple))
        else document_of(one, f"{where}: entry {number}", data.column)
        for number, one in enumerate(data.source, 1)
    ]
    found = [one for one in documents if not is_empty_document(one)]
    if not found:
        raise ArgumentError(f"{where}: has no texts")
    return found


def are_documents(entries: list[object]) -> bool:
    """Whether these are texts, chats, or rows with a text, and no batches of arguments."""
    return bool(entries) and all(
        isinstance(one, str) or _is_row(one) or _is_tokens(one) for one in entries
    )


def _is_row(entry: object) -> bool:
    """A dict with a chat, or in which all that is there is no tensor, and one entry is a text."""
    if not isinstance(entry, Mapping):
        return False
    chat = entry.get("messages", entry.get("conversations"))
    if isinstance(chat, list) and chat and isinstance(chat[0], Mapping):
        return True
    return isinstance(entry.get("text"), str) or _is_tokens(entry.get("input_ids"))


def _is_tokens(entry: object) -> bool:
    return (
        isinstance(entry, (list, tuple))
        and len(entry) > 0
        and all(isinstance(one, int) and not isinstance(one, bool) for one in entry)
    )


def _packs(data: TextData, model: LoadedModel, where: str) -> bool:
    able = isinstance(model.tokenize, FolderTokenizer)
    if data.pack is not None:
        if data.pack and not able:
            raise ArgumentError(f"{where}: pack: wants the tokenizer of a model folder")
        return data.pack
    return able and looks_back(model.module, vocabulary_of(model.module))


def _windows(
    documents: list[Document], tokenizer: FolderTokenizer, data: TextData, where: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    found = packed(documents, tokenizer, data, where)
    share = BLEND if data.blend is None else data.blend
    if not share or data.source == DEFAULT:
        return found.tokens, found.notes
    tokens, notes = with_default(found.tokens, tokenizer, share, where)
    return tokens, (*found.notes, *notes)


def with_default(
    tokens: np.ndarray, tokenizer: FolderTokenizer, share: float, where: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Windows with windows of the shipped texts among them, and a note that says so.

    Texts that the tokenizer does not know, as those of other languages, are left out.
    """
    known = [one for one in default_documents() if isinstance(one, str) and tokenizer.knows(one)]
    if not known:
        return tokens, ()
    length = TextData(DEFAULT, length=tokens.shape[1])
    both = blended(tokens, packed(known, tokenizer, length, DEFAULT).tokens, share)
    count = len(both) - len(tokens)
    told = f"{where}: {count:,} windows more are of the texts that come with Taut (blend=0: none)"
    return both, (told,) if count else ()


def _plain(document: Document, tokenizer: Tokenize, where: str) -> str:
    if isinstance(document, str):
        return document
    if not isinstance(tokenizer, FolderTokenizer):
        raise ArgumentError(f"{where}: the model's tokenizer takes texts; give texts")
    return tokenizer.plain(document, where)


def _paragraphs(texts: list[str]) -> list[str]:
    return [part.strip() for text in texts for part in text.split("\n\n") if part.strip()]


def _blended_texts(own: list[str], share: float, where: str) -> tuple[list[str], str]:
    other = _paragraphs([one for one in default_documents() if isinstance(one, str)])
    wanted = min(len(other), max(1, round(len(own) * share / (1 - share))))
    chosen = [other[int(i)] for i in spread(np.arange(len(other)), wanted)]
    note = f"{where}: {wanted:,} of the texts that come with Taut are among them"
    return own + chosen, note


def _padded(texts: list[str], tokenize: Tokenize, reading: Reading) -> list[object]:
    """Batches of texts of about one length, so that little of a batch is padding."""
    lengths: list[int] = []
    for begin in range(0, len(texts), _AT_ONCE):
        some = tokenize(texts[begin : begin + _AT_ONCE], reading.max_length)
        mask = some.get("attention_mask")
        if mask is None:
            lengths += [len(text) for text in texts[begin : begin + _AT_ONCE]]
        else:
            lengths += [int(length) for length in mask.sum(1)]
    order = sorted(range(len(texts)), key=lambda i: lengths[i])  # stable: the same every time
    return [
        tokenize([texts[i] for i in order[begin : begin + reading.batch_size]], reading.max_length)
        for begin in range(0, len(texts), reading.batch_size)
    ]
