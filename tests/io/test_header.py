"""A header is right, or an error that names file, tensor and number; never a crash or a guess."""

import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from taut.errors import ArgumentError, FormatError
from taut.io.header import MAX_HEADER, Header, read_header

GOOD = '"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'


def packed(header: bytes | str, data: bytes = b"") -> bytes:
    """A file's bytes: the length, the header as it is, the data."""
    raw = header.encode() if isinstance(header, str) else header
    return len(raw).to_bytes(8, "little") + raw + data


def entry(dtype: str, shape: list[int], start: int, stop: int) -> dict[str, object]:
    """The description of one tensor."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


def one(fields: str, data: bytes = bytes(4)) -> bytes:
    """A file with one tensor `a`, its description as it is."""
    return packed(f'{{"a":{{{fields}}}}}', data)


def test_tensors_come_in_the_order_of_their_data_with_absolute_offsets() -> None:
    header = {
        "late": entry("F16", [2], 8, 12),
        "__metadata__": {"format": "pt", "ключ": "é\n"},
        "early": entry("F32", [2, 1], 0, 8),
        "none": entry("I8", [3, 0], 8, 8),
    }
    text = json.dumps(header, indent=1) + "   "
    found = read_header(packed(text, bytes(12)))
    start = 8 + len(text)
    assert found.metadata == {"format": "pt", "ключ": "é\n"}
    assert found.raw_json == text.encode()
    assert (found.data_start, found.nbytes) == (start, start + 12)
    assert [(t.name, t.dtype, t.shape, t.start - start, t.stop - start) for t in found.tensors] == [
        ("early", "F32", (2, 1), 0, 8),
        ("none", "I8", (3, 0), 8, 8),
        ("late", "F16", (2,), 8, 12),
    ]


def test_a_header_without_tensors_is_valid() -> None:
    assert read_header(packed("{}")) == Header({}, (), b"{}", 10)
    assert read_header(packed('{"__metadata__":{}}')).tensors == ()


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"])).filter(lambda n: n != "__metadata__"),
        st.tuples(st.sampled_from(["f4", "i8", "u1", "f2"]), st.lists(st.integers(0, 3))),
        max_size=6,
    ),
    st.none() | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.text("aé\0")),
)
def test_whatever_the_safetensors_library_writes_is_read(
    tensors: dict[str, tuple[str, list[int]]], metadata: dict[str, str] | None
) -> None:
    arrays = {name: np.zeros(shape[:5], dtype) for name, (dtype, shape) in tensors.items()}
    header = read_header(save(arrays, metadata or None))  # {} makes the library write bad JSON
    assert {t.name: t.shape for t in header.tensors} == {n: a.shape for n, a in arrays.items()}
    assert all(t.nbytes == arrays[t.name].nbytes for t in header.tensors)
    assert header.metadata == (metadata or {})


def two(a_start: int, a_stop: int, b_start: int, b_stop: int) -> bytes:
    """A file of 4 bytes of data with two tensors at these offsets."""
    a = entry("U8", [a_stop - a_start], a_start, a_stop)
    b = entry("U8", [b_stop - b_start], b_start, b_stop)
    return packed(json.dumps({"a": a, "b": b}), bytes(4))


HOSTILE = {
    "dimension of 2^63": (one('"dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,4]'),
        r'tensor "a": shape has .9223372036854775808., which is not a whole number in 0..2\^63-1'),
    "product over 2^63": (one('"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]'),
        r'tensor "a": shape \[4294967296, 4294967296\] of F32 overflows'),
    "product of 2^64 wraps to 0": (
        one('"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]', b""), "overflows"),
    "a number of a million digits": (
        one(f'"dtype":"U8","shape":[{"9" * 10**6}],"data_offsets":[0,4]'), 'tensor "a": expected'),
    "a number of 4000 digits": (
        one(f'"dtype":"U8","shape":[{"9" * 4000}],"data_offsets":[0,4]'),
        r"999\.\.\. \(4000 characters\)"),
    "negative dimension": (one('"dtype":"F32","shape":[-1],"data_offsets":[0,4]'), "has '-1'"),
    "negative offset": (one('"dtype":"F32","shape":[1],"data_offsets":[-4,0]'),
        "data_offsets has '-4'"),
    "offsets backwards": (one('"dtype":"F32","shape":[1],"data_offsets":[4,0]'),
        r"data_offsets \[4, 0\] must be \[start, stop\]"),
    "three offsets": (one('"dtype":"F32","shape":[1],"data_offsets":[0,4,8]'), "must be"),
    "one offset": (one('"dtype":"F32","shape":[1],"data_offsets":[4]'), "must be"),
    "real dimension": (one('"dtype":"F32","shape":[1.0],"data_offsets":[0,4]'), "has '1.0'"),
    "exponent": (one('"dtype":"F32","shape":[1e0],"data_offsets":[0,4]'), "has '1e0'"),
    "NaN": (one('"dtype":"F32","shape":[NaN],"data_offsets":[0,4]'), "has 'NaN'"),
    "Infinity": (one('"dtype":"F32","shape":[1],"data_offsets":[0,Infinity]'), "has 'Infinity'"),
    "true": (one('"dtype":"F32","shape":[true],"data_offsets":[0,4]'), "has 'true'"),
    "leading zero": (one('"dtype":"F32","shape":[01],"data_offsets":[0,4]'), "has '01'"),
    "another script's digit": (one('"dtype":"F32","shape":[١],"data_offsets":[0,4]'), "has '١'"),
    "trailing comma": (one('"dtype":"F32","shape":[1,],"data_offsets":[0,4]'), "has ''"),
    "33 dimensions": (one(f'"dtype":"F32","shape":[{"1," * 32}1],"data_offsets":[0,4]'),
        'tensor "a": 33 dimensions'),
    "shape is text": (one('"dtype":"F32","shape":"1","data_offsets":[0,4]'),
        'tensor "a": shape is of the wrong type'),
    "dtype is a list": (one('"dtype":[1],"shape":[1],"data_offsets":[0,4]'), "dtype is of the"),
    "dtype is null": (one('"dtype":null,"shape":[1],"data_offsets":[0,4]'), 'tensor "a": expected'),
    "unknown dtype": (one('"dtype":"F31","shape":[1],"data_offsets":[0,4]'), 'unknown dtype "F31"'),
    "lower case dtype": (one('"dtype":"f32","shape":[1],"data_offsets":[0,4]'), "unknown dtype"),
    "sub-byte rest": (one('"dtype":"F4","shape":[7],"data_offsets":[0,4]'), "inside a byte"),
    "field missing": (one('"dtype":"F32","shape":[1]'), "wants exactly"),
    "field unknown": (one('"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1'), "wants exactly"),
    "field twice": (one('"dtype":"F32","dtype":"F32","data_offsets":[0,4]'), "dtype comes twice"),
    "size is not dtype times shape": (one('"dtype":"F32","shape":[2],"data_offsets":[0,4]'),
        r'tensor "a": data_offsets \[0, 4\] hold 4 bytes, but F32 of shape \[2\] takes 8'),
    "tensor is a list": (packed('{"a":["F32",[1],[0,4]]}', bytes(4)), "expected {, found '\\['"),
    "tensor is null": (packed('{"a":null}'), "expected {, found 'n'"),
    "header is a list": (packed("[]"), 'must begin with "{"'),
    "header is null": (packed("null"), 'must begin with "{"'),
    "header begins with space": (packed(" {}"), 'must begin with "{"'),
    "header begins with a mark": (packed(b"\xef\xbb\xbf{}"), 'must begin with "{"'),
    "header is empty": (packed(""), 'must begin with "{"'),
    "two values": (packed("{}{}"), "nothing may follow"),
    "zero bytes as padding": (packed("{}\0\0"), "nothing may follow"),
    "not closed": (packed("{"), "expected a string"),
    "not closed after a tensor": (packed("{" + GOOD, bytes(4)), "expected , or }"),
    "no colon": (packed('{"a"}'), "expected :, found '}'"),
    "comment": (packed("{/**/}"), "expected a string"),
    "string not closed": (packed('{"a'), "near character 1: a string is not valid"),
    "control character": (packed('{"a\n":1}'), "near character 1: a string is not valid"),
    "bad escape": (packed('{"\\x41":1}'), "a string is not valid"),
    "lone surrogate": (packed('{"\\ud800":{}}'), "a string is not valid: a lone surrogate"),
    "not UTF-8": (packed(b'{"\xff":{}}'), "header byte 2 is not UTF-8"),
    "name twice": (packed(f"{{{GOOD},{GOOD}}}", bytes(4)), 'the name "a" comes twice'),
    "name twice, once escaped": (
        packed(f"{{{GOOD},{GOOD}}}".replace('"a"', '"\\u0061"', 1), bytes(4)), "comes twice"),
    "metadata twice": (packed('{"__metadata__":{},"__metadata__":{}}'), "comes twice"),
    "metadata key twice": (packed('{"__metadata__":{"k":"1","k":"2"}}'),
        'the __metadata__ key "k" comes twice'),
    "metadata value is 1": (packed('{"__metadata__":{"k":1}}'), "expected a string, found '1'"),
    "metadata nests": (packed('{"__metadata__":{"k":{}}}'), "expected a string, found '{'"),
    "metadata is null": (packed('{"__metadata__":null}'), "expected {, found 'n'"),
    "data after the last tensor": (packed(f"{{{GOOD}}}", bytes(5)), "1 bytes from byte 66 on"),
    "data without a tensor": (packed("{}", b"x"), "belong to no tensor"),
    "offset beyond the file": (packed(f"{{{GOOD}}}", bytes(3)), 'tensor "a" ends at byte 66'),
    "offset of 2^63-1": (one('"dtype":"U8","shape":[9223372036854775807],'
        '"data_offsets":[0,9223372036854775807]'), "ends at byte 9223372036854775904"),
    "length of 2^64-1": (b"\xff" * 8 + b"{}", "length 18446744073709551615 is over"),
    "length over the limit": ((MAX_HEADER + 1).to_bytes(8, "little") + b"{}", "over the limit"),
    "length beyond the file": ((3).to_bytes(8, "little") + b"{}", "header length 3 reaches beyond"),
    "no bytes": (b"", "0 bytes"),
    "seven bytes": (bytes(7), "7 bytes"),
    "LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid ...", "git lfs pull"),
    "hole at the start": (packed(json.dumps({"a": entry("U8", [2], 2, 4)}), bytes(4)),
        'tensor "a" begins at byte 70 and leaves a hole after the header, which ends at 68'),
    "hole": (two(0, 1, 2, 4),
        'tensor "b" begins at byte 130 and leaves a hole after tensor "a"'),
    "overlap": (two(0, 3, 2, 4),
        'tensor "b" begins at byte 130 and overlaps tensor "a", which ends at 131'),
    "twice the same data": (two(0, 4, 0, 4), 'tensor "b" .* overlaps tensor "a"'),
    "empty one inside another": (two(0, 4, 2, 2), 'tensor "b" .* overlaps tensor "a"'),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_header_is_refused_from_buffer_and_file(case: str, tmp_path: Path) -> None:
    file, message = HOSTILE[case]
    with pytest.raises(FormatError, match=f"^evil.bin: .*{message}"):
        read_header(file, where="evil.bin")
    path = tmp_path / "evil.safetensors"
    path.write_bytes(file)
    with pytest.raises(FormatError, match=f"evil.safetensors: .*{message}"):
        read_header(path)


@pytest.mark.parametrize(
    "header",
    [
        b"{" * 10**7,
        b'{"a":' * 2 * 10**6,
        b'{"__metadata__":' + b'{"a":' * 2 * 10**6,
        b'{"a":{"dtype":"U8","shape":' + b"[" * 10**7,
        b'{"a":{"dtype":"U8","shape":[' + b"1," * 5 * 10**6 + b'1],"data_offsets":[0,1]}}',
        b'{"a":{"dtype":"U8","shape":[' + b" " * 10**7 + b'1],"data_offsets":[0,1]}}',
        b'{"a' + b"x" * 10**7,
        b'{"a":1' + b" " * 10**7,
        b"{" + b" " * 10**7,
        b"{}" + b" " * 10**7 + b"x",
    ],
    ids=range(10),
)
def test_a_long_hostile_header_costs_neither_work_nor_memory(
    header: bytes, count_calls: Callable[[Callable[[], object]], int]
) -> None:
    file = packed(header)
    tracemalloc.start()
    with pytest.raises(FormatError) as caught:
        read_header(file)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    def refused() -> None:
        with pytest.raises(FormatError):
            read_header(file)

    assert count_calls(refused) < 1000  # none for each byte or number
    assert peak < 4 * len(file)  # the bytes, the text, and one string from it
    assert len(str(caught.value)) < 500


@given(st.data())
def test_no_damage_to_a_header_leads_to_anything_but_a_format_error(data: st.DataObject) -> None:
    file = bytearray(
        packed('{"__metadata__":{"k":"v"},"b":{"dtype":"BF16","shape":[2,1],"data_offsets":[0,4]}}')
        + bytes(4)
    )
    for _ in range(data.draw(st.integers(1, 3))):
        file[data.draw(st.integers(0, len(file) - 5))] = data.draw(st.integers(0, 255))
    try:
        header = read_header(file)
    except FormatError:
        return
    assert [(t.nbytes, t.start, t.stop) for t in header.tensors] == [
        (4, header.data_start, header.data_start + 4)
    ]


def test_every_truncation_is_refused() -> None:
    file = packed(f"{{{GOOD}}}", bytes(4))
    for length in range(len(file)):
        with pytest.raises(FormatError):
            read_header(file[:length])


def test_only_the_header_of_a_file_is_read(tmp_path: Path) -> None:
    size = 2**40
    header = json.dumps({"a": entry("U8", [size], 0, size)}).encode()
    path = tmp_path / "sparse.safetensors"
    path.write_bytes(packed(header))
    try:
        os.truncate(path, 8 + len(header) + size)
    except OSError:
        pytest.skip("the file system has no sparse files")
    assert read_header(path).tensors[0].nbytes == size


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.safetensors")
    with pytest.raises(ArgumentError, match="not a regular file"):
        read_header(tmp_path / "pipe.safetensors")


def test_a_missing_file_is_the_callers_mistake(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"none\.safetensors: cannot be read"):
        read_header(tmp_path / "none.safetensors")


def test_a_buffer_may_be_any_memory() -> None:
    file = packed(f"{{{GOOD}}}", bytes(4))
    same = [read_header(kind(file)) for kind in (bytes, bytearray, memoryview)]
    assert same[0] == same[1] == same[2]
    assert read_header(memoryview(np.frombuffer(file, np.uint8))) == same[0]


def test_the_limit_of_a_header_is_that_of_safetensors() -> None:
    assert MAX_HEADER == 100_000_000
