"""Hostile safetensors headers behind valid checksums."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import taut

from .conftest import Victim, load_all, refused
from .forge import Forgery, entry, sign_header, split, with_header

HUGE = 1 << 63


def entries_of(victim: Victim) -> tuple[dict[str, str], bytes, bytes]:
    """The entries' JSON texts by name, the body, and the index blob."""
    header, start = split(victim.data)
    del header["__metadata__"]
    body = victim.data[start:]
    texts = {n: f"{json.dumps(n)}:{json.dumps(e)}" for n, e in header.items()}
    begin, end = header["taut.index"]["data_offsets"]
    return texts, body, body[begin:end]


LIES = {
    "huge shape": '{"dtype":"U8","shape":[9223372036854775807],"data_offsets":[0,500]}',
    "shape of 2^63": f'{{"dtype":"U8","shape":[{HUGE}],"data_offsets":[0,500]}}',
    "shape that wraps to 0": '{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}',
    "shape that overflows": '{"dtype":"F64","shape":[4611686018427387904,4],"data_offsets":[0,0]}',
    "negative shape": '{"dtype":"U8","shape":[-1],"data_offsets":[0,500]}',
    "negative offsets": '{"dtype":"U8","shape":[500],"data_offsets":[-500,0]}',
    "offsets of 2^63": f'{{"dtype":"U8","shape":[500],"data_offsets":[{HUGE},{HUGE + 500}]}}',
    "offsets turned round": '{"dtype":"U8","shape":[500],"data_offsets":[500,0]}',
    "three offsets": '{"dtype":"U8","shape":[500],"data_offsets":[0,500,500]}',
    "one offset": '{"dtype":"U8","shape":[500],"data_offsets":[0]}',
    "fractions": '{"dtype":"U8","shape":[500.0],"data_offsets":[0,500]}',
    "exponents": '{"dtype":"U8","shape":[5e2],"data_offsets":[0,500]}',
    "NaN": '{"dtype":"U8","shape":[NaN],"data_offsets":[0,500]}',
    "Infinity": '{"dtype":"U8","shape":[500],"data_offsets":[0,Infinity]}',
    "true": '{"dtype":"U8","shape":[true],"data_offsets":[0,500]}',
    "null": '{"dtype":null,"shape":[500],"data_offsets":[0,500]}',
    "text for a number": '{"dtype":"U8","shape":["500"],"data_offsets":[0,500]}',
    "unknown dtype": '{"dtype":"Q9","shape":[500],"data_offsets":[0,500]}',
    "no dtype": '{"shape":[500],"data_offsets":[0,500]}',
    "dtype twice": '{"dtype":"U8","dtype":"I8","shape":[500],"data_offsets":[0,500]}',
    "another key": '{"dtype":"U8","shape":[500],"data_offsets":[0,500],"strides":[1]}',
    "a list": "[]",
    "a number of 10,000 digits": f'{{"dtype":"U8","shape":[{"9" * 10_000}],"data_offsets":[0,0]}}',
    "1,000 dimensions": f'{{"dtype":"U8","shape":[{",".join("1" * 1000)}],"data_offsets":[0,1]}}',
    "deep": '{"dtype":' + "[" * 200_000 + "]" * 200_000 + "}",
}


@pytest.mark.parametrize("lie", LIES)
def test_an_entry_that_lies_is_refused(lie: str, small: Victim, tmp_path: Path) -> None:
    texts, body, index = entries_of(small)
    texts["noise"] = '"noise":' + LIES[lie]
    path = tmp_path / "lie"
    path.write_bytes(with_header(",".join(texts.values()) + "}", body, index))
    assert "header" in refused(path, taut.verify)
    assert "near character" in refused(path, load_all)


def spans(victim: Victim) -> list[tuple[str, str, list[int], int, int]]:
    header, _ = split(victim.data)
    del header["__metadata__"]
    return [(n, e["dtype"], e["shape"], *e["data_offsets"]) for n, e in header.items()]


@pytest.mark.parametrize("shift", [-500, -8, -1, 1, 8, 1 << 40, (1 << 63) - 1000])
def test_entries_that_overlap_or_leave_holes_are_refused(
    shift: int, small: Victim, tmp_path: Path
) -> None:
    _, body, index = entries_of(small)
    path = tmp_path / "moved"
    full = [k for k, (*_, begin, end) in enumerate(spans(small)) if begin < end]
    for moved in full:  # an empty tensor may lie at any seam
        texts = [
            entry(n, dtype, shape, begin + shift * (k == moved), end + shift * (k == moved))
            for k, (n, dtype, shape, begin, end) in enumerate(spans(small))
        ]
        path.write_bytes(with_header(",".join(texts) + "}", body, index))
        refused(path, taut.verify)


def test_wrong_counts_are_refused(small: Victim, tmp_path: Path) -> None:
    texts, body, index = entries_of(small)
    path = tmp_path / "counts"
    for gone in texts:
        left = [text for name, text in texts.items() if name != gone]
        path.write_bytes(with_header(",".join(left) + "}", body, index))
        refused(path, taut.verify)
    for more in ('"more":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}', *texts.values()):
        path.write_bytes(with_header(",".join([more, *texts.values()]) + "}", body, index))
        refused(path, taut.verify)
    path.write_bytes(with_header(",".join(reversed(texts.values())) + "}", body, index))
    taut.verify(path)  # the order of the JSON means nothing, that of the data does


def test_what_is_not_one_json_object_is_refused(small: Victim, tmp_path: Path) -> None:
    texts, body, index = entries_of(small)
    path = tmp_path / "json"
    whole = ",".join(texts.values())
    endings = ["", "}}", "},", "}\0", "} x", ",}", ',"__metadata__":{}}', ',"a":{}}', "\ud7ff}"]
    for ending in [*endings, '\\ud800":1}', ',"\\ud800":{}}', "," + "[" * 100_000, "," * 100_000]:
        path.write_bytes(with_header(whole + ending, body, index))
        assert "header" in refused(path, taut.verify)
    for bad in (b"\xff", b"\xed\xa0\x80", b"\xc0\x80"):
        header = split(small.data)[1]
        text = small.data[8:header].rstrip() + bad
        signed = sign_header(text)
        path.write_bytes(len(signed).to_bytes(8, "little") + signed + body)
        refused(path, taut.verify)


@pytest.mark.parametrize("length", [0, 1, 7, 1 << 31, 100_000_001, 1 << 63, (1 << 64) - 1])
def test_a_length_that_lies_is_refused(length: int, small: Victim, tmp_path: Path) -> None:
    path = tmp_path / "length"
    path.write_bytes(length.to_bytes(8, "little") + small.data[8:])
    assert "header" in refused(path, taut.verify)


@pytest.mark.parametrize("version", ["0", "3", "9"])
def test_another_version_is_refused_by_its_number(
    version: str, small: Victim, tmp_path: Path
) -> None:
    path = tmp_path / "version"
    path.write_bytes(small.data.replace(b'"taut":"2"', f'"taut":"{version}"'.encode(), 1))
    assert f"version {version}" in refused(path, taut.verify)


def test_very_many_entries_take_work_in_proportion(
    small: Victim, tmp_path: Path, count_calls: Callable[[Callable[[], object]], int]
) -> None:
    _, body, index = entries_of(small)

    def cost(entries: int) -> int:
        many = (f'"{k}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}' for k in range(entries))
        path = tmp_path / "many"
        path.write_bytes(with_header(",".join(many) + "}", body, index))
        return count_calls(lambda: refused(path, taut.verify))

    assert cost(20_000) < 2.1 * cost(10_000)


def test_a_forgery_without_changes_is_sound(small: Victim, large: Victim, tmp_path: Path) -> None:
    path = tmp_path / "forged"
    for victim in (small, large):
        path.write_bytes(Forgery.of(victim.data).signed())
        assert taut.verify(path).tensors == len(victim.tensors)
