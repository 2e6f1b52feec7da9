"""SentencePiece's vocabulary of pairs, from `tokenizer.json` or from its own `tokenizer.model`.

There is no list of merges in GGUF for it: two neighbours are joined where what they make is a
piece, the one with the best score first. `tokenizer.json` has merges instead, whose order gives
the scores. Its rule is the same where every way to make a piece is a merge, as it is in what
transformers converts; where it is not, texts may be split otherwise, which a note counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from taut.exporting.gguf.piece_model import PieceModel, read_piece_model
from taut.exporting.gguf.pieces import (
    BYTE,
    NORMAL,
    UNKNOWN,
    GgufVocabulary,
    Piece,
    UnwrittenTokenizerError,
    pieces_of,
    rows,
)
from taut.exporting.gguf.splits import rule_words, rules_in

SPACE: Final = "\u2581"
_BYTE: Final = re.compile(r"<0x[0-9A-F]{2}>")
_NEVER: Final = -1e9  # of what no merge makes: after everything else


def from_tree(
    tree: Mapping[str, Any], size: int, original: PieceModel | None = None
) -> GgufVocabulary:
    """The vocabulary of a `tokenizer.json` whose model is BPE over pieces of text.

    `original` is the `tokenizer.model` beside it; its scores are taken where its pieces are these.

    Raises:
        UnwrittenTokenizerError: it has no byte tokens, or a rule that SentencePiece has not.
    """
    model = tree["model"]
    prefix = _prefixed(tree)
    vocab: Mapping[str, int] = model["vocab"]
    pieces = _typed(pieces_of(vocab, tree.get("added_tokens") or []), model.get("unk_token"))
    _need_bytes(pieces.values())
    notes: list[str] = []
    if original is not None and _same(original, vocab):
        scores = dict(enumerate(original.scores))
    else:
        ranks, other = _ranks(model.get("merges") or [], pieces, vocab)
        scores = {number: float(-rank) for number, rank in ranks.items()}
        if other:
            notes = [
                f"{other} of {len(ranks)} pieces can be made of pairs that are no merges of "
                "tokenizer.json: SentencePiece's rule joins them too, and such texts get other "
                "tokens"
            ]
    if not model.get("byte_fallback"):
        notes.append(
            "tokenizer.json has no byte_fallback: letters that no piece has are unknown there, and "
            "bytes to a runtime"
        )
    return _vocabulary(pieces, size, scores, prefix, notes)


def from_model(path: Path, size: int) -> GgufVocabulary:
    """The vocabulary of a `tokenizer.model`.

    Raises:
        UnwrittenTokenizerError: its algorithm is not that of pairs, or it changes characters.
        ValueError: it is no SentencePiece model.
    """
    found = read_piece_model(path)
    if found.algorithm != "BPE":
        raise UnwrittenTokenizerError(f"SentencePiece {found.algorithm}")
    if found.normalizes:
        raise UnwrittenTokenizerError(
            "SentencePiece BPE that normalizes text by a table of its own"
        )
    both = zip(found.texts, found.types, strict=True)
    pieces = {number: Piece(*one) for number, one in enumerate(both)}
    _need_bytes(pieces.values())
    return _vocabulary(pieces, size, dict(enumerate(found.scores)), found.prefix, [])


def _vocabulary(
    pieces: Mapping[int, Piece],
    size: int,
    scores: Mapping[int, float],
    prefix: bool,
    notes: Sequence[str],
) -> GgufVocabulary:
    made = rows(pieces, size)
    return GgufVocabulary(
        model="llama",
        pre="default",
        texts=[piece.text for piece in made],
        types=[piece.type for piece in made],
        scores=[scores.get(number, _NEVER) for number in range(size)],
        flags={"add_space_prefix": prefix},
        notes=notes,
    )


def _prefixed(tree: Mapping[str, Any]) -> bool:
    """Whether a space is put before the text.

    Raises:
        UnwrittenTokenizerError: text is changed or split by a rule that SentencePiece has not.
    """
    kind = "BPE with byte_fallback that"
    prefix = False
    for rule in rules_in(tree.get("normalizer")):
        puts = rule.get("type") == "Prepend" and rule.get("prepend") == SPACE
        if not puts and not _of_spaces(rule):
            raise UnwrittenTokenizerError(f"{kind} changes text before ({rule_words(rule)})")
        prefix |= puts
    for rule in rules_in(tree.get("pre_tokenizer")):
        if rule.get("type") != "Metaspace" or rule.get("replacement", SPACE) != SPACE:
            raise UnwrittenTokenizerError(f"{kind} splits text before ({rule_words(rule)})")
        prefix |= _puts_space(rule)
    return prefix


def _puts_space(metaspace: Mapping[str, object]) -> bool:
    scheme = metaspace.get("prepend_scheme")
    if scheme is None:  # as it was said before
        return bool(metaspace.get("add_prefix_space", True))
    return scheme in ("always", "first")


def _of_spaces(rule: Mapping[str, object]) -> bool:
    pattern = rule.get("pattern")
    found = pattern.get("String") if isinstance(pattern, Mapping) else None
    return rule.get("type") == "Replace" and found == " " and rule.get("content") == SPACE


def _typed(pieces: Mapping[int, Piece], unknown: str | None) -> dict[int, Piece]:
    """Pieces with the types that follow from their texts: bytes, and what stands for no piece."""
    found = {}
    for number, piece in pieces.items():
        kind = piece.type
        if piece.text == unknown:
            kind = UNKNOWN
        elif kind == NORMAL and _BYTE.fullmatch(piece.text):
            kind = BYTE
        found[number] = Piece(piece.text, kind)
    return found


def _need_bytes(pieces: Iterable[Piece]) -> None:
    """A runtime ends the program where a text has a byte that no token stands for."""
    count = sum(piece.type == BYTE for piece in pieces)
    if count != 256:
        raise UnwrittenTokenizerError(
            f"BPE over pieces of text with {count} of the 256 byte tokens <0x00> to <0xFF>"
        )


def _same(original: PieceModel, vocab: Mapping[str, int]) -> bool:
    """Whether the pieces of a `tokenizer.model` are those of the vocabulary, by number."""
    return all(vocab.get(text) == number for number, text in enumerate(original.texts))


def _ranks(
    merges: Sequence[Any], pieces: Mapping[int, Piece], vocab: Mapping[str, int]
) -> tuple[dict[int, int], int]:
    """The place of the first merge that makes each piece, and how many pieces more pairs make."""
    ranks: dict[int, int] = {}
    pairs: set[tuple[str, str]] = set()
    for rank, merge in enumerate(merges):
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        pairs.add((left, right))
        ranks.setdefault(vocab[left + right], rank)
    normal = {piece.text for piece in pieces.values() if piece.type == NORMAL}
    other = sum(
        any(
            text[:cut] in normal and text[cut:] in normal and (text[:cut], text[cut:]) not in pairs
            for cut in range(1, len(text))
        )
        for text in normal
    )
    return ranks, other
