"""Each lie of an array header is refused for what it is, not for a size that happens to be off."""

from __future__ import annotations

import pytest

from taut.coding import decoded_nbytes
from taut.errors import FormatError

from .test_streams import HEADERS

# What only the file around them can refuse: they are headers of some array, though of no sane one.
SIZES = {
    "matrix of 2^22 columns in a run": 1 << 55,
    "adaptive of 2^42 scales": 1 << 44,
    "2^40 chunks": 1 << 42,
    "90,000 chunks": 360_000,
    "2^56 rows in a run": 1 << 56,
}

REASONS = {
    "no magic": "not a coded array of version 1",
    "empty": "not a coded array of version 1",
    "only magic": "ends early",
    "kind 60": "unknown kind",
    "matrix without fields": "ends early",
    "matrix of part of a row": "a matrix without whole rows",
    "matrix of no row": "a matrix without whole rows",
    "matrix without its basis": "ends early",
    "matrix with an empty basis": "an empty basis",
    "matrix with a basis cut short": "ends early",
    "matrix with a basis of 2,049 columns": "a basis of too many columns",
    "matrix with two kinds of offsets": "two kinds of offsets",
    "matrix of sixty-fourths": "exponents of unknown fraction",
    "matrix of infinite rows": "a row's scale is infinite",
    "matrix of 65 classes": "too many classes",
    "matrix of 33 contexts": "too many tables",
    "matrix with a table too steep": "broken table",
    "adaptive without fields": "ends early",
    "adaptive of part of a row": "no whole rows",
    "adaptive of an infinite step": "step is not finite",
    "adaptive of half a step": "no number is a half",
    "adaptive of float16 in four bytes": "width and output type differ",
    "adaptive with unknown options": "unknown options",
    "adaptive of kernels that do not fill": "kernels do not fill a row",
    "adaptive of groups without scales": "groups out of range",
    "adaptive of empty groups": "groups out of range",
    "adaptive of no level": "too many levels",
    "adaptive of 65,537 levels": "too many levels",
    "adaptive of levels beyond 2^31": "too many levels",
    "adaptive of levels that are no number": "a number that is not finite",
    "adaptive of 299 scales": "ends early",
    "adaptive of 301 scales": "bytes left over",
    "adaptive of zeros alone": "zeros without scales",
    "adaptive of levels and zeros": "zeros without scales",
    "adaptive of numbers of a strange kind": "unknown kind of numbers",
    "adaptive of numbers without bytes": "numbers end early",
    "adaptive of a row too long": r"rows of more than 2\^20 values",
    "records without fields": "ends early",
    "records of words": "records are bytes",
    "records of the fast coder": "unknown coder",
    "records of a layout cut short": "too many buckets",
    "records of a layout too long": "layout: bytes left over",
    "records that do not fill a row": "bits of no field",
    "records of no byte": "no or too many bytes",
    "records of 8,000 bytes": "no or too many bytes",
    "records of no field": "no or too many fields",
    "records of 12 bits": "no or too many bits",
    "records of a field named twice": "named twice",
    "records of seven loops": "too many loops",
    "records of 2^32 symbols": "no or too many rounds",
    "records of a piece outside": "outside of a record",
    "records of a context from later": "a field that is not before it",
    "records of an unknown function": "unknown function",
    "records of a huge coefficient": "coefficient out of range",
    "records of 65 buckets": "too many buckets",
    "records of 33 contexts": "too many contexts",
    "records of contexts without buckets": "contexts without buckets",
    "records of a context without a table": "a context without a table",
    "records of a field coded strangely": "coded in an unknown way",
    "records of a broken table": "broken table",
    "records of a table of one symbol": "broken table",
    "records with something behind": "bytes left over",
    "width 3": "width is not 1, 2, 4 or 8",
    "2^57 values": r"more than 2\^56 values",
    "2^64 - 1 values": r"more than 2\^56 values",
    "a number that never ends": "integer too long",
    "no row": "empty rows or chunks",
    "no rows": "empty rows or chunks",
    "rows that overflow": r"a chunk of more than 2\^22 values",
    "a chunk too large": r"a chunk of more than 2\^22 values",
    "constant without value": "ends early",
    "constant with too much": "bytes left over",
    "split without fields": "ends early",
    "200 tables": "no table, or too many",
    "no table": "no table, or too many",
    "64 raw bits": "too many raw bits",
    "rows longer than the header": "ends early",
}


def test_every_lie_has_a_reason_or_a_size() -> None:
    assert REASONS.keys() | SIZES.keys() == HEADERS.keys()
    assert not REASONS.keys() & SIZES.keys()


@pytest.mark.parametrize("lie", REASONS)
def test_a_header_that_lies_is_refused_for_its_lie(lie: str) -> None:
    with pytest.raises(FormatError, match=REASONS[lie]):
        decoded_nbytes(HEADERS[lie])


@pytest.mark.parametrize("lie", SIZES)
def test_a_header_of_an_absurd_array_says_its_size(lie: str) -> None:
    assert decoded_nbytes(HEADERS[lie]) == SIZES[lie]
