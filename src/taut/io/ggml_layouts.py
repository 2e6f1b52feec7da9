"""How the blocks of each quantised type of ggml are laid out, for the coder of records.

A block has a scale d (float16), perhaps a minimum m, in the larger types integers that scale parts
of it, and a few bits for each value. What d and m say of a part tells how its values lie: from
where zero is (m / d), or from how much d is beside the others. Where the bits lie: ggml-common.h.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from taut.coding import BitPiece as Piece
from taut.coding import ContextTerm as Term
from taut.coding import RecordField as Field
from taut.coding import RecordLayout as Layout
from taut.io.ggml_types import GGML_TYPES

_BUCKETS: Final = 64
_OCTAVE_8TH, _OCTAVE_4TH = 7, 8  # shifts: a float16 has 1024 steps an octave


def layout_of(name: str) -> Layout | None:
    """The layout of a quantised type's blocks; None of types that are no blocks.

    >>> layout_of("Q8_0").record, layout_of("F32")
    (34, None)
    """
    return _layouts().get(name)


@cache
def _layouts() -> dict[str, Layout]:
    fields = _legacy() | _k_quants() | _ternary_and_floats() | _codebooks()
    sizes = {one.name: one.nbytes for one in GGML_TYPES.values()}
    return {name: Layout(sizes[name], tuple(found)) for name, found in fields.items()}


def _half(byte: int, number: int) -> list[Field]:
    """A float16, high byte first, as field `number`: which low bytes there are may hang on it."""
    low = Field((Piece(8 * byte, 8),), terms=(Term(number),), buckets=_BUCKETS)
    return [Field((Piece(8 * byte + 8, 8),)), low]


def _bytes(begin: int, count: int, *, elements: int = 1) -> Field:
    """Bytes that nothing is known of but how often each occurs."""
    return Field((Piece(8 * begin, 8, (8,)),), (count,), elements=elements)


def _bits(offset: int, width: int, loops: tuple[int, ...], strides: tuple[int, ...]) -> Field:
    return Field((Piece(offset, width, strides),), loops)


# Contexts. The fields of d are 0 and 1, those of m 2 and 3.
_SCALE: Final = (Term(0, 256, "magnitude"), Term(1))
_ZERO: Final = (
    Term(2, 256, "magnitude"),
    Term(3),
    Term(0, -256, "magnitude"),
    Term(1, -1),
)


def _by(
    terms: tuple[Term, ...], pieces: tuple[Piece, ...], loops: tuple[int, ...],
    groups: int = 0, elements: int = 1, shift: int = _OCTAVE_4TH,
) -> Field:  # fmt: skip
    return Field(pieces, loops, groups, elements, terms, shift, _BUCKETS)


def _pairs(terms: tuple[Term, ...], begin: int, shift: int, count: int = 16) -> Field:
    """Bytes of two values of 4 bits that share a scale."""
    return _by(terms, (Piece(8 * begin, 8, (8,)),), (count,), 0, 2, shift)


def _legacy() -> dict[str, list[Field]]:
    """Blocks of 32 values: d, perhaps m, perhaps each value's fifth bit, then 4 or 8 bits each."""
    d, m = _half(0, 0), _half(2, 2)

    def fives(begin: int, terms: tuple[Term, ...], shift: int) -> Field:
        low, high = Piece(8 * begin + 32, 4, (4, 8)), Piece(8 * begin, 1, (16, 1))
        return _by(terms, (low, high), (2, 16), 1, 1, shift)

    return {
        "Q4_0": [*d, _pairs(_SCALE, 2, _OCTAVE_4TH)],
        "IQ4_NL": [*d, _pairs(_SCALE, 2, _OCTAVE_4TH)],
        "Q4_1": [*d, *m, _pairs(_ZERO, 4, _OCTAVE_8TH)],
        "Q5_0": [*d, fives(2, _SCALE, _OCTAVE_4TH)],
        "Q5_1": [*d, *m, fives(4, _ZERO, _OCTAVE_8TH)],
        "Q8_0": [*d, _by(_SCALE, (Piece(16, 8, (8,)),), (32,))],
        "Q8_1": [*(_bytes(at, 1) for at in range(8)), _bytes(8, 32)],
        "Q1_0": [*d, _bytes(2, 16)],
    }


def _k_quants() -> dict[str, list[Field]]:
    """Blocks of 256 values in 8 or 16 parts, each with an integer scale and perhaps a minimum."""
    # Six bits each of eight parts, of the last four in two places; fields 4 and 5.
    six = [
        Field((Piece(32, 4, (64, 8)), Piece(36, 2, (2, 8))), (2, 4)),
        Field((Piece(64, 4, (36, 8)), Piece(68, 2, (2, 8))), (2, 4)),
    ]
    zero = (*_ZERO, Term(5, 1, "log"), Term(4, -1, "log"))
    dm = [*_half(0, 0), *_half(2, 2)]
    fours = tuple(Piece(128 + 8 * k, 4, (256, 4, 16)) for k in range(2))
    fives = Piece(384, 4, (256, 4, 8)), Piece(128, 1, (2, 1, 8))
    sixes = Piece(0, 4, (512, 4, 256, 128, 8)), Piece(1024, 2, (256, 4, 2, 128, 8))
    twos = tuple(Piece(128 + 8 * k, 2, (256, 2, 128, 32)) for k in range(4))
    threes = tuple(
        piece
        for k in range(2)
        for piece in (
            Piece(256 + 8 * k, 2, (256, 2, 128, 16)),
            Piece(8 * k, 1, (4, 1, 128, 16)),
        )
    )
    scales = Field((Piece(768, 4, (4, 32, 8)), Piece(832, 2, (4, 2, 8))), (2, 2, 4))
    return {
        "Q2_K": [
            *_half(80, 0), *_half(82, 2), _bits(0, 4, (16,), (8,)), _bits(4, 4, (16,), (8,)),
            _by(zero, twos, (2, 4, 2, 4), 3, 4),
        ],
        "Q3_K": [
            *_half(108, 0), scales,
            _by((*_SCALE, Term(2, 1, "log from middle")), threes, (2, 4, 2, 8), 3, 2),
        ],
        "Q4_K": [*dm, *six, _by(zero, fours, (4, 2, 16), 2, 2, _OCTAVE_8TH)],
        "Q5_K": [*dm, *six, _by(zero, fives, (4, 2, 32), 2, 1, _OCTAVE_8TH)],
        "Q6_K": [
            *_half(208, 0), _bytes(192, 16),
            _by((*_SCALE, Term(2, 1, "log of signed")), sixes, (2, 2, 2, 2, 16), 4),
        ],
        "Q8_K": [
            *(_bytes(at, 1) for at in range(4)), _bytes(4, 256),
            _bits(2080, 8, (16,), (16,)), _bits(2088, 8, (16,), (16,)),
        ],
    }  # fmt: skip


def _ternary_and_floats() -> dict[str, list[Field]]:
    """Three levels a value, or floats of 4 bits behind a scale of 8."""
    by_scale = (Term(0),)
    return {
        "TQ1_0": [*_half(52, 0), _bytes(0, 48), _bytes(48, 4)],
        "TQ2_0": [*_half(64, 0), _bytes(0, 64, elements=4)],
        "MXFP4": [_bytes(0, 1), _bytes(1, 16, elements=2)],
        "NVFP4": [
            _bytes(0, 4),
            _by(by_scale, (Piece(32, 8, (64, 8)),), (4, 8), 1, 2, 1),
        ],
    }


def _codebooks() -> dict[str, list[Field]]:
    """Numbers of points of a codebook, their signs, and scales: hardly anything repeats."""
    part = Term(2, 1, "log from middle")
    return {
        "IQ2_XXS": [
            *_half(0, 0), _bits(16, 8, (8, 4), (64, 8)), _bits(48, 8, (8, 3), (64, 8)),
            _bits(72, 4, (8,), (64,)), _bits(76, 4, (8,), (64,)),
        ],
        "IQ2_XS": [
            *_half(0, 0), _bits(16, 8, (32,), (16,)), _bits(24, 1, (32,), (16,)),
            _bits(25, 7, (32,), (16,)), _bytes(66, 8, elements=2),
        ],
        "IQ2_S": [
            *_half(0, 0), _bytes(2, 32), _bytes(34, 32), _bytes(66, 8), _bytes(74, 8, elements=2),
        ],
        "IQ3_XXS": [
            *_half(0, 0), _bytes(2, 64), _bits(528, 8, (8, 3), (32, 8)),
            _bits(552, 4, (8,), (32,)), _bits(556, 4, (8,), (32,)),
        ],
        "IQ3_S": [
            *_half(0, 0), _bytes(2, 64), _bytes(66, 8), _bytes(74, 32), _bytes(106, 4, elements=2),
        ],
        "IQ1_S": [
            *_half(0, 0), _bytes(2, 32), _bits(272, 8, (8,), (16,)), _bits(280, 4, (8,), (16,)),
            _bits(284, 3, (8,), (16,)), _bits(287, 1, (8,), (16,)),
        ],
        "IQ1_M": [
            _bytes(0, 32), _bits(256, 3, (16, 2), (8, 4)), _bits(259, 1, (16, 2), (8, 4)),
            _bits(384, 8, (4,), (16,)), _bits(392, 4, (4,), (16,)), _bits(396, 4, (4,), (16,)),
        ],
        "IQ4_XS": [
            *_half(0, 0), Field((Piece(32, 4, (8, 4)), Piece(16, 2, (4, 2))), (4, 2)),
            _by((*_SCALE, part), (Piece(64, 8, (128, 8)),), (8, 16), 1, 2),
        ],
    }  # fmt: skip
