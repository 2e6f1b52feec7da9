"""The page of `taut view`: one file, with a file's own header in it."""

from __future__ import annotations

import base64
import json
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import taut
from taut.errors import ArgumentError, FormatError, VerifyError
from taut.reporting.gguf_extent import gguf_extent
from taut.reporting.viewer import histogram, view_page


def given(page: str) -> list[dict[str, Any]]:
    """What was put into a page."""
    found = re.search(r'<script type="application/json" id="given">(.*?)</script>', page)
    assert found
    files: list[dict[str, Any]] = json.loads(found[1])
    return files


def test_a_page_is_one_file_with_header_index_and_histograms(tmp_path: Path, rng) -> None:
    model = {"a</script>.w": rng.standard_normal((64, 100)).astype(np.float32)}
    path = tmp_path / "net.taut.safetensors"
    taut.compress(model, path, bits=3.0)
    page = view_page(path)
    assert "src=" not in page and '<link rel="stylesheet"' not in page
    (file,) = given(page)
    data = path.read_bytes()
    for begin, text in file["pieces"]:
        piece = base64.b64decode(text)
        assert data[begin : begin + len(piece)] == piece
    assert file["pieces"][-1][0] + len(base64.b64decode(file["pieces"][-1][1])) == len(data)
    (histogram,) = file["histograms"].values()
    assert sum(histogram["counts"]) == histogram["of"] == 6400
    assert histogram["high"] == pytest.approx(float(taut.load(path)["a</script>.w"].max()))


def test_shards_are_shown_together(tmp_path: Path, rng) -> None:
    model = {f"w{k}": rng.standard_normal((40, 60)).astype(np.float32) for k in range(4)}
    save_file(model, tmp_path / "model.safetensors")
    taut.compress(tmp_path / "model.safetensors", tmp_path / "out", shard_size="20kB")
    assert len(given(view_page(tmp_path / "out"))) > 1
    plain = tmp_path / "plain"
    plain.mkdir()
    for k in range(2):
        save_file({f"w{k}": model[f"w{k}"]}, plain / f"{k}.safetensors")
    assert [one["name"] for one in given(view_page(plain))] == ["0.safetensors", "1.safetensors"]


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def gguf() -> bytes:
    """A header with a number, a text, a list of texts, and two tensors."""
    pairs = text("a") + struct.pack("<If", 6, 1.5) + text("b") + struct.pack("<I", 8) + text("x")
    pairs += text("c") + struct.pack("<IIQ", 9, 8, 2) + text("one") + text("two")
    tensors = b"".join(
        text(name) + struct.pack("<IQQIQ", 2, 32, 4, 2, at) for name, at in (("t", 0), ("u", 96))
    )
    return b"GGUF" + struct.pack("<IQQ", 3, 2, 3) + pairs + tensors


def test_the_header_of_a_gguf_file_is_found(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf() + bytes(200))
    assert gguf_extent(path) == len(gguf())
    (file,) = given(view_page(path))
    assert base64.b64decode(file["pieces"][0][1]) == gguf()
    for length in range(4, len(gguf())):
        path.write_bytes(gguf()[:length])
        with pytest.raises(FormatError, match=r"m\.gguf: ends within its header"):
            gguf_extent(path)
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 7, 0, 0))
    with pytest.raises(FormatError, match="version 7"):
        gguf_extent(path)


def test_what_cannot_be_shown_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="no such file"):
        view_page(tmp_path / "none.safetensors")
    with pytest.raises(ArgumentError, match=r"no \.safetensors file"):
        view_page(tmp_path)
    short = tmp_path / "short.safetensors"
    short.write_bytes(b"123")
    with pytest.raises(FormatError):
        view_page(short)
    path = tmp_path / "net.taut.safetensors"
    taut.compress({"w": np.arange(5000, dtype=np.float32)}, path)
    data = bytearray(path.read_bytes())
    data[-40] ^= 1
    path.write_bytes(data)
    with pytest.raises((FormatError, VerifyError)):
        view_page(path)


def test_a_delta_is_shown_with_the_values_that_it_stands_for() -> None:
    deltas = Path(__file__).parents[1] / "golden" / "deltas"
    path, base = deltas / "lossy.taut.safetensors", deltas / "base.safetensors"
    (told,) = given(view_page(path))
    assert given(view_page(path, base=base)) == [told]
    expected = taut.load(path, base=base)
    assert set(told["histograms"]) == set(expected)
    for name, values in expected.items():
        assert told["histograms"][name] == histogram(values), name
    with pytest.raises(ArgumentError, match="no delta"):
        view_page(base, base=base)
