"""The viewer (examples/viewer) says of a file what Python says, and refuses what is damaged."""

from __future__ import annotations

import json
import random
import re
import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from tests.js.browser import CHROMIUM, told
from tests.js.conftest import ROOT, node

import taut
from taut.container.deflate import DICTIONARY
from taut.reporting.viewer import histogram, view_page

GOLDEN = sorted((ROOT / "tests" / "golden" / "files").glob("*.taut.safetensors"))
DELTAS = sorted((ROOT / "tests" / "golden" / "deltas").glob("*.taut.safetensors"))
VIEWER = ROOT / "examples" / "viewer"


@pytest.fixture(scope="module", autouse=True)
def _node() -> None:
    if shutil.which("node") is None:
        pytest.skip("no node here: JavaScript is not tested")


def seen(*paths: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(node(Path(__file__).with_name("viewer.mjs"), *paths))
    return found


def test_it_says_of_a_taut_file_what_info_says() -> None:
    every = [*GOLDEN, *DELTAS]
    for path, found in zip(every, seen(*every), strict=True):
        expected = taut.info(path)
        assert found["original"] == expected.original_size
        assert [one["name"] for one in found["tensors"]] == [one.name for one in expected.tensors]
        for one, wanted in zip(found["tensors"], expected.tensors, strict=True):
            assert (one["dtype"], one["scheme"]) == (wanted.dtype, wanted.scheme)
            assert tuple(one["shape"]) == wanted.shape
            assert one["fileBytes"] == pytest.approx(wanted.bytes, abs=1), one["name"]
            assert one["error"] == pytest.approx(wanted.rel_mse, rel=1e-6)
        assert found["area"] == pytest.approx(5000) and found["inside"]


def test_histograms_of_a_plain_file_are_those_of_python(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    model = {
        "w": rng.standard_normal((50, 40)).astype(np.float32),
        "half": rng.standard_normal(300).astype(np.float16),
        "ints": rng.integers(-9, 9, 200).astype(np.int64),
        "odd": np.array([1, np.inf, np.nan, 0], np.float32),
        "same": np.full(7, 3, np.float32),
    }
    path = tmp_path / "model.safetensors"
    save_file(model, path)
    (found,) = seen(path)
    assert found["format"] == "safetensors"
    for name, values in model.items():
        assert found["histograms"][name] == histogram(values), name


def test_damage_is_refused_or_shown_without_a_crash(tmp_path: Path) -> None:
    pick = random.Random(4)
    paths = []
    for golden in GOLDEN:
        data = golden.read_bytes()
        for number in range(20):
            changed = bytearray(data[: pick.randrange(1, len(data))] if number % 2 else data)
            if changed:
                changed[pick.randrange(len(changed))] ^= 1 << pick.randrange(8)
            paths.append(tmp_path / f"{number}-{golden.name}")
            paths[-1].write_bytes(changed)
    outcomes = seen(*paths)
    assert len(outcomes) == len(paths)
    assert sum("refused" in one for one in outcomes) > len(outcomes) / 3


def test_the_dictionary_is_that_of_the_format() -> None:
    text = (VIEWER / "dictionary.js").read_text(encoding="utf-8")
    lines = re.findall(r'^    (".*")(?:,)?$', text, re.MULTILINE)
    assert "".join(json.loads(line) for line in lines).encode() == DICTIONARY


TOLD = """<script>document.addEventListener("shown", async () => {
  await new Promise((done) => setTimeout(done, 500));
  const one = (what) => document.querySelector(what);
  one("#search").value = "conv1"; one("#search").dispatchEvent(new Event("input"));
  fetch("/told", {method: "POST", body: JSON.stringify({
    said: one("#said").textContent, hidden: one("#all").hidden,
    cells: document.querySelectorAll("#map rect:not(.group)").length,
    bars: document.querySelectorAll("#histogram rect").length, range: one("#range").textContent,
    rows: document.querySelectorAll("#rows tr").length, count: one("#count").textContent,
  })});
});</script>"""
DROP = """<script>fetch("FILE").then((answer) => answer.blob()).then((blob) => {
  const dropped = new DataTransfer();
  dropped.items.add(new File([blob], "FILE"));
  dispatchEvent(new DragEvent("drop", {dataTransfer: dropped, cancelable: true}));
});</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")
def test_the_page_shows_what_view_put_into_it_and_asks_for_nothing(tmp_path: Path) -> None:
    path = next(one for one in GOLDEN if one.name.startswith("exact2"))
    tensors = taut.info(path).tensors
    page = view_page(path)
    text = page.replace('<script type="application/json"', TOLD + '<script type="application/json"')
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    found, requests = told(tmp_path, "page.html")
    assert requests == ["/page.html"]
    assert found["said"] == "" and not found["hidden"]
    assert found["cells"] == sum(one.bytes > 0 for one in tensors)
    assert found["bars"] == 64 and " of " in found["count"]
    assert found["rows"] == sum("conv1" in one.name for one in tensors)


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")
def test_a_dropped_taut_file_is_decoded_by_the_package(package: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    shutil.copytree(VIEWER, site)
    shutil.copytree(package, site / "taut")
    path = next(one for one in GOLDEN if one.name.startswith("lossy2"))
    shutil.copyfile(path, site / path.name)
    page = (site / "index.html").read_text(encoding="utf-8")
    drop = DROP.replace("FILE", path.name)
    late = TOLD.replace("setTimeout(done, 500)", "setTimeout(done, 4000)")
    (site / "index.html").write_text(page.replace("</html>", f"{late}{drop}</html>"))
    found, requests = told(site, "index.html")
    assert found["said"] == "" and not found["hidden"]
    assert found["bars"] == 64 and "values" in found["range"]
    assert any(one.endswith(".wasm") for one in requests)


def changed(golden: Path, change: str) -> bytes:
    """A Taut file of version 2 with another index, by a Python expression of `index`."""
    data = golden.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    *_, (name, entry) = sorted(
        ((name, one) for name, one in header.items() if name != "__metadata__"),
        key=lambda pair: pair[1]["data_offsets"],
    )
    begin, end = entry["data_offsets"]
    inflater = zlib.decompressobj(wbits=-15, zdict=DICTIONARY)
    index = json.loads(inflater.decompress(body[begin:end]))
    exec(change, {"index": index})
    deflater = zlib.compressobj(wbits=-15, zdict=DICTIONARY)
    coded = deflater.compress(json.dumps(index).encode()) + deflater.flush() + inflater.unused_data
    header[name] |= {"shape": [len(coded)], "data_offsets": [begin, begin + len(coded)]}
    told_header = json.dumps(header).encode()
    return struct.pack("<Q", len(told_header)) + told_header + body[:begin] + coded


CHANGES = (
    "index['kinds'][0]['store'] = 'constructor'", "index['kinds'][0]['store'] = None",
    "index['tensors'].append(index['tensors'][0])", "index['tensors'][0] = None",
    "index['tensors'][0][2] = [2**40, 2**40]", "index['tensors'][0][2] = {}",
    "index['kinds'][0] |= {'store': 'solid', 'solid': 'constructor'}", "index['source'] = None",
    "index['kinds'][0] |= {'store': 'kept', 'as': '__proto__'}", "index['tensors'] = None",
    "index['kinds'][0]['base'] = 'sums'", "index['kinds'][0]['base'] = ['sum']",
)  # fmt: skip
HEADERS = (
    '{"__metadata__":{"taut":"2"}}', '{"__metadata__":{"taut":"1"}}', '{"a":null}', "[]", "5",
    '{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
    '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
    '"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
    '"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
    '{"a":{"dtype":"constructor","shape":[1],"data_offsets":[0,8]}}',
    '{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}}',
)  # fmt: skip


def test_headers_and_indexes_that_lie_are_refused(tmp_path: Path) -> None:
    golden = next(one for one in GOLDEN if one.name.startswith("lossy2"))
    made = [changed(golden, change) for change in CHANGES]
    made += [struct.pack("<Q", len(text)) + text.encode() + bytes(8) for text in HEADERS]
    paths = [tmp_path / f"{number}" for number in range(len(made))]
    for path, data in zip(paths, made, strict=True):
        path.write_bytes(data)
    for number, one in enumerate(seen(*paths)):
        assert "refused" in one, (*CHANGES, *HEADERS)[number]


def test_what_holds_nothing_is_shown(tmp_path: Path) -> None:
    model = {"none": np.zeros((0, 7), np.float32), "one": np.zeros((), np.float32)}
    save_file(model, tmp_path / "few.safetensors")
    taut.compress(model, tmp_path / "few.taut.safetensors")
    plain, packed = seen(tmp_path / "few.safetensors", tmp_path / "few.taut.safetensors")
    assert {one["name"]: one["values"] for one in plain["tensors"]} == {"none": 0, "one": 1}
    assert packed["tensors"][0]["shape"] == [0, 7] and packed["inside"]
