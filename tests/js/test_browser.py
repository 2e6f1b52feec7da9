"""The npm package in Chromium: in a page and in a worker, sound files and hostile ones."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from pathlib import Path

import pytest
from tests.attacks.forge import Forgery
from tests.js.browser import CHROMIUM, told
from tests.js.conftest import ROOT

import taut
from taut.container import TautFile
from taut.container.format import as_bytes
from taut.errors import FormatError, VerifyError

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")

GOLDEN = sorted((ROOT / "tests" / "golden" / "files").glob("*.taut.safetensors"))
CODES = {"read", "format", "checksum", "memory", "unsupported"}


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def hostile(folder: Path) -> None:
    """Cut files, flipped bits, and damage behind valid checksums."""
    pick = random.Random(9)
    for golden in GOLDEN:
        data = golden.read_bytes()
        for number in range(4):
            flipped = bytearray(data)
            flipped[pick.randrange(len(data))] ^= 1 << pick.randrange(8)
            (folder / f"flipped{number}-{golden.name}").write_bytes(flipped)
            (folder / f"cut{number}-{golden.name}").write_bytes(data[: pick.randrange(len(data))])
            forgery = Forgery.of(data)
            if not forgery.parts:
                continue
            pieces = forgery.parts[pick.choice(sorted(forgery.parts))]
            piece = bytearray(pieces[-1])
            piece[pick.randrange(len(piece))] ^= 1 << pick.randrange(8)
            pieces[-1] = bytes(piece)
            (folder / f"forged{number}-{golden.name}").write_bytes(forgery.signed())


def expected(path: Path) -> dict[str, str | None] | None:
    """What Python reads of a file: a checksum a tensor, None where it refuses it."""
    try:
        file = TautFile(path)
    except (FormatError, VerifyError):
        return None
    found: dict[str, str | None] = {}
    for name in file:
        try:
            found[name] = sha(as_bytes(file[name]).tobytes())
        except (FormatError, VerifyError):
            found[name] = None
    return found


def test_a_page_and_a_worker_read_what_python_reads(package: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    shutil.copytree(package, site / "taut")
    shutil.copyfile(Path(__file__).with_name("page.mjs"), site / "page.mjs")
    (site / "index.html").write_text(
        '<!doctype html><title>t</title><script type="module" src="page.mjs"></script>'
    )
    for golden in GOLDEN:
        shutil.copyfile(golden, site / golden.name)
    hostile(site)
    names = sorted(path.name for path in site.glob("*.taut.safetensors"))
    (site / "files.json").write_text(json.dumps(names))
    ways, requests = told(site, "index.html")
    assert [way.get("page") for way in ways] == [True, False], ways
    assert any(one.startswith(f"/{GOLDEN[0].name} bytes=") for one in requests)
    for way in ways:
        assert way["vectors"] and list(way["files"]) == names
        for name, found in way["files"].items():
            wanted = expected(site / name)
            if wanted is None:
                assert found in CODES, name
                continue
            assert set(found) == {*wanted, ""}, name
            for tensor, checksum in wanted.items():
                assert found[tensor] == checksum if checksum else found[tensor] in CODES, name
        for golden in GOLDEN:
            out = tmp_path / ("out.gguf" if "gguf" in golden.name else "out.safetensors")
            taut.decompress(golden, out, force=True)
            safetensors = out.suffix == ".safetensors"
            wanted_file = sha(out.read_bytes()) if safetensors else "argument"
            assert way["files"][golden.name][""] == wanted_file
