"""SentencePiece's own file, `tokenizer.model`: pieces, scores and types, from its protobuf."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from taut.exporting.gguf.pieces import NORMAL

_ALGORITHMS: Final = {1: "Unigram", 2: "BPE", 3: "Word", 4: "Char"}
_VARINT, _EIGHT, _LENGTH, _FOUR = 0, 1, 2, 5  # wire types


@dataclass(frozen=True)
class PieceModel:
    """Pieces by number; the types are GGUF's, which took them from here.

    `prefix`: a space is put before the text; `normalizes`: characters are replaced by a table.
    """

    texts: tuple[str, ...]
    scores: tuple[float, ...]
    types: tuple[int, ...]
    algorithm: str
    prefix: bool
    normalizes: bool


def read_piece_model(path: Path) -> PieceModel:
    """Read a `tokenizer.model`.

    Raises:
        ValueError: it is no SentencePiece model.
    """
    data = path.read_bytes()
    texts, scores, types = [], [], []
    algorithm, prefix, normalizes = 1, True, False  # what the fields that are left out stand for
    for number, value in _fields(data):
        if number == 1:
            piece = dict(_fields(_bytes(value)))
            texts.append(_bytes(piece[1]).decode())
            scores.append(struct.unpack("<f", _bytes(piece.get(2, bytes(4))))[0])
            types.append(_number(piece.get(3, NORMAL)))
        elif number == 2:
            algorithm = _number(dict(_fields(_bytes(value))).get(3, algorithm))
        elif number == 3:
            rules = dict(_fields(_bytes(value)))
            prefix = bool(rules.get(3, True))
            normalizes = bool(rules.get(2, b""))
    if not texts:
        raise ValueError(f"{path}: no pieces")
    return PieceModel(
        texts=tuple(texts),
        scores=tuple(scores),
        types=tuple(types),
        algorithm=_ALGORITHMS.get(algorithm, f"of algorithm {algorithm}"),
        prefix=prefix,
        normalizes=normalizes,
    )


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where text stands")
    return value


def _number(value: int | bytes) -> int:
    if not isinstance(value, int):
        raise ValueError("text where a number stands")
    return value


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Fields of a message: their numbers, and integers or bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        wire = key & 7
        if wire == _VARINT:
            number, at = _varint(data, at)
            yield key >> 3, number
            continue
        if wire == _LENGTH:
            size, at = _varint(data, at)
        elif wire in (_EIGHT, _FOUR):
            size = 8 if wire == _EIGHT else 4
        else:
            raise ValueError(f"a field of wire type {wire}")
        if at + size > len(data):
            raise ValueError("it ends within a field")
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    found = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError("it ends within a number")
        found |= (data[at] & 127) << shift
        at += 1
        if data[at - 1] < 128:
            return found, at
    raise ValueError("a number of more than ten bytes")
