"""The table of contents: what is written is read, and nothing else is."""

from __future__ import annotations

import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laconic.container.index import Group, Index, Origin, Part, Record, pack_index, unpack_index
from laconic.errors import FormatError

SUM = "0123456789abcdef"
RECORD = {
    "name": "w",
    "dtype": "F32",
    "shape": [2, 3],
    "scheme": "lossless",
    "store": "coded",
    "sum": SUM,
    "parts": [[9, SUM]],
}
TREE = {
    "version": 1,
    "source": {"bytes": 24, "metadata": {}, "files": [{"name": "a.safetensors", "header": "{}"}]},
    "solids": [{"name": "s", "dtype": "F32", "sum": SUM, "parts": [[9, SUM]]}],
    "tensors": [RECORD],
}

sums = st.text("0123456789abcdef", min_size=16, max_size=16)
parts = st.lists(st.builds(Part, st.integers(0, 1 << 48), sums), min_size=1).map(tuple)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
common = {
    "name": texts,
    "dtype": texts,
    "shape": st.lists(st.integers(0, 1 << 48), max_size=32).map(tuple),
    "scheme": texts,
    "rel_mse": st.floats(0, 1e300),
}
records = st.one_of(
    st.builds(Record, **common, store=st.just("coded"), sum=sums, parts=parts, stored=texts),
    st.builds(Record, **common, store=st.just("kept"), sum=sums, stored=texts),
    st.builds(
        Record,
        **common,
        store=st.just("solid"),
        solid=st.integers(0, 99),
        at=st.integers(0, 1 << 22),
        stored=texts,
    ),
    st.builds(Record, **common, store=st.just("alias"), of=texts, tied=st.booleans()),
)
origins = st.builds(
    Origin,
    st.integers(0, 1 << 48),
    st.dictionaries(texts, texts, max_size=3),
    st.just((("a.safetensors", '{"x" : 1}  '),)),
    st.just(()) | st.just((("a.index.json", "{}"),)),
)
indexes = st.builds(
    Index,
    origins,
    st.lists(st.builds(Group, texts, texts, sums, parts), max_size=3).map(tuple),
    st.lists(records, max_size=5).map(tuple),
)


@given(indexes)
def test_what_is_packed_is_unpacked(index):
    assert unpack_index(pack_index(index)) == index


def unpack(tree: object) -> Index:
    return unpack_index(zlib.compress(json.dumps(tree).encode()))


def test_the_example_is_valid():
    assert unpack(TREE).records[0].shape == (2, 3)
    assert unpack({**TREE, "later": 1}) == unpack(TREE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": [-1]}, '"w": "dimension" is not an integer from 0'),
        ({"shape": [1 << 49]}, "dimension"),
        ({"shape": [True]}, "dimension"),
        ({"shape": [1] * 33}, "33 dimensions, at most 32"),
        ({"shape": None}, '"shape" is not a list'),
        ({"store": "pickle"}, "unknown store 'pickle'"),
        ({"sum": SUM[:-1]}, '"sum" is not 16 hexadecimal digits'),
        ({"sum": SUM.upper()}, "hexadecimal"),
        ({"parts": []}, "no parts"),
        ({"parts": [[9]]}, "part 0 is not"),
        ({"parts": [[9, SUM], [-9, SUM]]}, 'part 1: "length"'),
        ({"run": "me"}, "unknown key 'run'"),
        ({"rel_mse": -0.5}, "at least 0"),
        ({"rel_mse": "0"}, "not a number"),
        ({"name": 3}, '"name" is not a string'),
        ({"name": "\ud800"}, "not Unicode"),
        ({"tied": 1}, "tied"),
        ({"store": "alias"}, 'no "of"'),
    ],
)
def test_a_hostile_record_is_named(change, message):
    with pytest.raises(FormatError, match=message):
        unpack({**TREE, "tensors": [{**RECORD, **change}]})


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a\\b", "c:x", "a\0b", "x" * 256])
def test_a_file_name_that_leaves_the_folder_is_refused(name):
    source = {"bytes": 1, "metadata": {}, "files": [{"name": name, "header": "{}"}]}
    with pytest.raises(FormatError, match="is not a file name"):
        unpack({**TREE, "source": source})


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (b"", "cut off"),
        (b"garbage", "not a zlib stream"),
        (zlib.compress(b"{}") + b"x", "1 bytes after the end"),
        (zlib.compress(b"{}")[:-1], "cut off"),
        (zlib.compress(b" " * 30_000_000), "inflates to more than"),
        (zlib.compress(b"[" * 100_000), "nested too deeply|not JSON"),
        (zlib.compress(b'{"version":NaN}'), "NaN is not JSON"),
        (zlib.compress(b'{"version":1,"version":1}'), "same key twice"),
        (zlib.compress(b'{"version":2}'), "version 2, but the header says 1"),
        (zlib.compress(b'{"version":' + b"9" * 5000 + b"}"), "not JSON"),
        (zlib.compress(b"\xff"), "not JSON"),
        (zlib.compress(b"3"), "not a JSON object"),
    ],
)
def test_a_hostile_blob_is_refused(blob, message):
    with pytest.raises(FormatError, match=message):
        unpack_index(blob)


def test_an_index_that_deflates_like_a_bomb_can_still_be_read():
    shape = (1000,) * 32
    records = [Record(f"{i:05}", "F32", shape, "keep", "alias", of="00000") for i in range(9000)]
    index = Index(Origin(1), (), tuple(records))
    blob = pack_index(index)
    text = zlib.decompress(blob)
    assert len(text) > 262_144 + 50 * len(zlib.compress(text, 9))  # a bomb at the usual level
    assert unpack_index(blob) == index
