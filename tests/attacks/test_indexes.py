"""Hostile tables of contents behind valid checksums: any value of the wrong kind or size."""

from __future__ import annotations

import copy
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.thorough import examples

import taut

from .conftest import REFUSAL, Victim, load_all, named, refused, same, survivors
from .forge import Forgery, collapse

# What stands in for each value in turn. 2^40 and 2^63 are counts and sizes that no file has.
STRANGE: list[Any] = [
    None, True, False, -1, 0, 1, 3, 2.5, 1e308, float("inf"), float("nan"), 1 << 40, 1 << 48,
    1 << 63, 1 << 200, "", "x", "F32", "\ud800", "../../x", "0" * 16, "a\0b", "é" * 300, [],
    [1 << 40] * 4, [1 << 62, 4], [0, 1 << 62, 1 << 62], [[]], [[1 << 40, "0" * 16]] * 3, {},
    {"x": 1},
]  # fmt: skip


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in a JSON tree."""
    if isinstance(tree, dict | list):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield (*path, key)
            yield from places(value, (*path, key))


def at(tree: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def check(path: Path, data: bytes) -> None:
    """Refused with a name, or what comes of it has the size that the index says."""
    path.write_bytes(data)
    survivors(path)
    for act in (taut.verify, load_all, taut.info):
        try:
            act(path)
        except REFUSAL as error:
            assert named(error, path), error


@pytest.mark.parametrize("victim", ["small", "large", "many", "first"], indirect=True)
def test_a_wrong_value_anywhere_is_refused_or_harmless(victim: Victim, tmp_path: Path) -> None:
    forgery = Forgery.of(victim.data)
    forgery.signed()
    sound = forgery.tree if forgery.version == 1 else collapse(forgery.tree)
    everywhere = list(places(sound))
    rng = np.random.default_rng(8)
    cases = [(p, v) for p in everywhere for v in STRANGE]
    for number in rng.choice(len(cases), min(len(cases), examples(700)), replace=False):
        path, value = cases[number]
        tree = copy.deepcopy(sound)
        at(tree, path[:-1])[path[-1]] = value
        index = zlib.compress(json.dumps(tree).encode())
        check(tmp_path / "strange", forgery.around(index))


@pytest.mark.parametrize("victim", ["small", "large", "many", "first"], indirect=True)
def test_a_missing_doubled_or_moved_value_is_refused_or_harmless(
    victim: Victim, tmp_path: Path
) -> None:
    forgery = Forgery.of(victim.data)
    forgery.signed()
    sound = forgery.tree if forgery.version == 1 else collapse(forgery.tree)
    everywhere = list(places(sound))
    rng = np.random.default_rng(9)
    for number in rng.choice(len(everywhere), min(len(everywhere), examples(120)), replace=False):
        *path, key = everywhere[number]
        other = at(sound, everywhere[int(rng.integers(len(everywhere)))])
        for change in ("remove", "double", "replace"):
            tree = copy.deepcopy(sound)
            parent = at(tree, tuple(path))
            if change == "replace":
                parent[key] = copy.deepcopy(other)
            elif change == "remove":
                del parent[key]
            elif isinstance(parent, list):
                parent.insert(key, copy.deepcopy(parent[key]))
            else:
                parent[f"{key}2"] = parent[key]
            index = zlib.compress(json.dumps(tree).encode())
            check(tmp_path / "moved", forgery.around(index))


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"x",
        zlib.compress(b""),
        zlib.compress(b"[]"),
        zlib.compress(b"{"),
        zlib.compress(b"\xff\xfe"),
        zlib.compress(b'{"version":1}'),
        zlib.compress(b'{"version":1,"version":1}'),
        zlib.compress(b"[" * 1_000_000),
        zlib.compress(b'{"a":' * 1_000_000),
        zlib.compress(b"9" * 1_000_000),
        zlib.compress(b'{"version":1e999}'),
        zlib.compress(b'{"version":1}')[:-4] + b"\0\0\0\0",
    ],
)
def test_an_index_that_is_none_is_refused(blob: bytes, small: Victim, tmp_path: Path) -> None:
    path = tmp_path / "none"
    path.write_bytes(Forgery.of(small.data).around(blob))
    assert "index" in refused(path, taut.verify)


def test_sizes_that_do_not_match_name_the_tensor(large: Victim, tmp_path: Path) -> None:
    path = tmp_path / "sizes"
    for shape in ([300, 301], [1], [0], [1 << 20, 1 << 20], [1 << 40, 1 << 40], [1 << 48] * 2):
        for name in ("zeros", "layer.weight", "kept", "sparse", "layer.bias"):
            forgery = Forgery.of(large.data)
            forgery.record(name)["shape"] = shape
            path.write_bytes(forgery.signed())
            found = survivors(path)
            # A shorter view of a solid group is within its bytes; nothing else may differ.
            assert same(large, {n: a for n, a in found.items() if n != name})
            if name != "layer.bias":
                assert f'"{name}"' in refused(path, taut.verify)


def test_a_file_name_of_the_source_cannot_leave_the_folder(large: Victim, tmp_path: Path) -> None:
    path, out = tmp_path / "in", tmp_path / "out" / "model"
    for name in ("../evil", "/tmp/evil", "..", "", "a/b", "a\\b", "x\0y", "C:evil"):
        for key, value in (("files", "header"), ("texts", "text")):
            forgery = Forgery.of(large.data)
            forgery.tree["source"][key] = [{"name": name, value: "{}"}]
            path.write_bytes(forgery.signed())
            assert "file name" in refused(path, lambda p: taut.decompress(p, out))
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["in"]


HEADERS = ["", "{}", "[]", "{", '{"zeros":{}}', '{"__metadata__":{"format":"pt"}}', "[" * 100_000]


def test_headers_of_the_source_that_lie_are_refused(large: Victim, tmp_path: Path) -> None:
    path, out = tmp_path / "in", tmp_path / "out"
    out.mkdir()
    for header in HEADERS:
        forgery = Forgery.of(large.data)
        forgery.tree["source"]["files"] = [{"name": "a.safetensors", "header": header}]
        path.write_bytes(forgery.signed())
        refused(path, lambda p: taut.decompress(p, out / "a.safetensors"))
    assert list(out.iterdir()) == []
