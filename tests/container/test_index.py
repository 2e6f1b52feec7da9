"""The table of contents: what is written is read, and nothing else is."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taut.container.contents import pack_index, unpack_index
from taut.container.deflate import DICTIONARY, deflate, inflate
from taut.container.format import xxh3
from taut.container.index import Index, Origin, Pack, Part, Record, SolidGroup
from taut.container.source_header import rebuild_header
from taut.errors import FormatError

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

SECOND = {
    "source": {"bytes": 24},
    "packs": [{"sum": SUM}],
    "solids": [{"name": "s", "dtype": "F32", "pack": 0, "lengths": [9]}],
    "kinds": [
        {"dtype": "F32", "scheme": "rd", "store": "packed", "pack": 0},
        {"dtype": "F32", "scheme": "lossless", "store": "solid", "solid": 0},
        {"dtype": "I8", "scheme": "keep", "store": "kept"},
        {"dtype": "F32", "scheme": "rd", "store": "alias", "tied": True},
    ],
    "tensors": [
        [0, "w", [2, 3], [20, 9], 0.5],
        [1, "b", [3]],
        [1, "c", []],
        [2, "k", [2], SUM],
        [3, "v", [2, 3], "w", 0.5],
    ],
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
    st.builds(
        Record,
        **common,
        store=st.just("packed"),
        parts=st.lists(st.builds(Part, st.integers(0, 1 << 48)), min_size=1).map(tuple),
        pack=st.integers(0, 99),
        stored=texts,
    ),
    st.builds(Record, **common, store=st.just("kept"), sum=sums, stored=texts),
    st.builds(Record, **common, store=st.just("alias"), of=texts, tied=st.booleans()),
)
origins = st.builds(
    Origin,
    st.integers(0, 1 << 48),
    st.dictionaries(texts, texts, max_size=3),
    st.just((("a.safetensors", '{"x" : 1}  '),)),
    st.just(()) | st.just((("a.index.json", "{}"),)),
    st.dictionaries(
        texts,
        st.dictionaries(
            st.sampled_from(["out_channels", "groups", "é"]), st.integers(-(1 << 40), 1 << 40)
        ),
        max_size=3,
    ),
)
packs = st.one_of(
    st.builds(Pack, texts.filter(bool), sums, sums),
    st.builds(Pack, st.just(""), st.just(""), sums),
)
groups = st.one_of(
    st.builds(SolidGroup, texts, texts, sums, parts),
    st.builds(
        SolidGroup,
        texts,
        texts,
        st.just(""),
        st.lists(st.builds(Part, st.integers(0, 1 << 48)), min_size=1).map(tuple),
        st.integers(0, 99),
    ),
)
indexes = st.builds(
    Index,
    origins,
    st.lists(groups, max_size=3).map(tuple),
    st.lists(records, max_size=5).map(tuple),
    st.lists(packs, max_size=3).map(tuple),
)


@given(indexes)
def test_what_is_packed_is_unpacked(index):
    assert unpack_index(pack_index(index) + b"rest") == (index, 4)


def unpack(tree: object) -> Index:
    return unpack_index(zlib.compress(json.dumps(tree).encode()), version=1)[0]


def unpack_second(tree: object) -> Index:
    return unpack_index(deflate(json.dumps(tree).encode()))[0]


def test_a_row_says_with_its_kind_what_an_object_says():
    w, b, c, k, v = unpack_second(SECOND).records
    assert w == Record("w", "F32", (2, 3), "rd", "packed", parts=(Part(20), Part(9)), rel_mse=0.5)
    assert (b.store, b.solid, b.at, b.shape) == ("solid", 0, 0, (3,))
    assert (c.solid, c.at, c.shape) == (0, 12, ())  # after the three float32 before it
    assert (k.store, k.sum, k.dtype) == ("kept", SUM, "I8")
    assert (v.of, v.tied, v.rel_mse) == ("w", True, 0.5)
    assert unpack_second({**SECOND, "later": 1}) == unpack_second(SECOND)
    assert unpack_second({**SECOND, "source": {"bytes": 1, "later": 1}}).origin == Origin(1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tensors": [[0, "w", [2, 3]]]}, "tensor 0: has 3 values, not name, shape, lengths"),
        ({"tensors": [[0, "w", [2, 3], [9], 0.5, 1]]}, "has 6 values"),
        ({"tensors": [[4, "w", [2], SUM]]}, "tensor 0: is of kind 4, of 4"),
        ({"tensors": [[-1, "w", [2], SUM]]}, '"kind" is not an integer'),
        ({"tensors": [[]]}, "tensor 0: is not a list"),
        ({"tensors": [{}]}, "tensor 0: is not a list"),
        ({"tensors": {}}, '"tensors" is not a list'),
        ({"tensors": [[1, "b", [1 << 48] * 9]]}, '"b": shape'),
        ({"tensors": [[1, "b", [-1]]]}, '"b": "dimension"'),
        ({"tensors": [[1, 2, [1]]]}, '"name" is not a string'),
        ({"tensors": [[0, "w", [2, 3], [9, -1]]]}, '"w": part 1: "length"'),
        ({"tensors": [[0, "w", [2, 3], []]]}, '"w": no parts'),
        ({"tensors": [[0, "w", [2, 3], [9], -30001]]}, '"rel_mse" is not a level within -30000'),
        ({"tensors": [[0, "w", [2, 3], [9], True]]}, '"rel_mse" is not a number'),
        ({"tensors": [[0, "w", [2, 3], [9], float("inf")]]}, "Infinity is not JSON"),
        ({"kinds": [{"dtype": "F32", "scheme": "rd", "store": "packed"}]}, 'kind 0: no "pack"'),
        ({"kinds": [{"dtype": "F32", "scheme": "rd", "store": "kept", "pack": 0}]}, "'pack'"),
        ({"kinds": [{"dtype": "F32", "scheme": "rd", "store": "zip"}]}, "unknown store 'zip'"),
        ({"kinds": [3]}, "kind 0 is not a JSON object"),
        ({"packs": [{}]}, 'pack 0: no "sum"'),
        ({"packs": [{"sum": SUM, "checksum": SUM}]}, "unknown key 'checksum'"),
        ({"solids": [{"name": "s", "dtype": "F32", "pack": 0, "parts": []}]}, 'no "lengths"'),
        ({"source": {"bytes": 1, "files": [{"name": "a"}, {"name": "b"}]}}, "of a single file"),
        ({"source": {}}, '"bytes" is not an integer'),
        ({"modules": []}, "modules is not a JSON object"),
        ({"modules": {"a": 3}}, "modules: 'a' is not a JSON object"),
        ({"modules": {"a": {"__class__.x": 3}}}, "'__class__.x' is not the name of an attribute"),
        ({"modules": {"a": {"n" * 256: 3}}}, "is not the name"),
        ({"modules": {"a": {"n": 1 << 41}}}, "n is not an integer within -2"),
        ({"modules": {"a": {"n": True}}}, "n is not an integer"),
        ({"modules": {"a": {"n": 1.5}}}, "n is not an integer"),
        ({"modules": {"\ud800": {}}}, "not Unicode"),
        ({"modules": {"a": {f"n{k}": 1 for k in range(65)}}}, "65 attributes; at most 64"),
        ({"modules": {str(k): {} for k in range(65537)}}, "65537 of them; at most 65536"),
    ],
)
def test_a_hostile_table_is_named(change, message):
    with pytest.raises(FormatError, match=message):
        unpack_second({**SECOND, **change})


def test_an_error_that_is_a_level_takes_two_or_three_digits():
    records = [Record("w", "F32", (2,), "rd", "kept", sum=SUM, rel_mse=e) for e in (0.01, 0.012)]
    text, _ = inflate(pack_index(Index(Origin(8), (), tuple(records))))
    assert [row[-1] for row in json.loads(text)["tensors"]] == [200, 0.012]
    assert [record.rel_mse for record in unpack_second(json.loads(text)).records] == [0.01, 0.012]
    tiny = Index(Origin(8), (), (replace(records[0], rel_mse=5e-324),))
    assert unpack_index(pack_index(tiny)) == (tiny, 0)


def test_a_header_that_can_be_had_again_is_not_stored():
    records = (Record("a", "F32", (2,), "keep", "kept", sum=SUM),)
    header = '{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    header = header.ljust(88)
    assert rebuild_header(records, {"format": "pt"}) == header
    for text, stored in ((header, False), (header + " " * 8, True)):
        index = Index(Origin(8, {"format": "pt"}, (("a.safetensors", text),)), (), records)
        blob = pack_index(index)
        assert (b"data_offsets" in inflate(blob)[0]) is stored
        assert unpack_index(blob)[0] == index


def test_the_dictionary_is_that_of_version_2():
    assert len(DICTIONARY) == 1974
    assert xxh3(DICTIONARY) == "ec5dc9a5e8ef2408"


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
        (zlib.compress(b"[" * 100_000), "JSON nested too deeply"),
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
        unpack_index(blob, version=1)


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (b"", "cut off"),
        (b"garbage", "not a deflate stream"),
        (deflate(b"{}")[:-1], "cut off"),
        (zlib.compress(b" " * 30_000_000)[2:-4], "inflates to more than"),
        (deflate(b"[" * 100_000), "JSON nested too deeply"),
        (deflate(b"3"), "not a JSON object"),
    ],
)
def test_a_hostile_blob_of_version_2_is_refused(blob, message):
    with pytest.raises(FormatError, match=message):
        unpack_index(blob)


def test_an_index_that_deflates_like_a_bomb_can_still_be_read():
    shape = (1000,) * 32
    records = [Record(f"{i:05}", "F32", shape, "keep", "alias", of="00000") for i in range(9000)]
    index = Index(Origin(1), (), tuple(records))
    blob = pack_index(index)
    text, _ = inflate(blob)
    assert len(text) > 262_144 + 50 * len(zlib.compress(text, 9))  # a bomb at the usual level
    assert unpack_index(blob) == (index, 0)
