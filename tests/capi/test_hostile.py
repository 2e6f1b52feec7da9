"""Damaged and hostile files: libtaut refuses what Python refuses, and gives no wrong number."""

from __future__ import annotations

import ast
import random
import re
import sys
from pathlib import Path

import pytest
from tests.attacks.forge import Forgery
from tests.capi.compare import compare
from tests.capi.conftest import ROOT, run
from tests.capi.library import Library
from tests.thorough import examples

pytestmark = pytest.mark.slow("builds libtaut, once")

GOLDEN = sorted((ROOT / "tests" / "golden" / "files").glob("*.taut.safetensors"))


def test_files_cut_anywhere_are_refused_alike(library: Library, tmp_path: Path) -> None:
    path = tmp_path / "cut"
    for golden in GOLDEN:
        data = golden.read_bytes()
        pick = random.Random(len(data))
        for length in sorted(pick.sample(range(1, len(data)), examples(100)), reverse=True):
            path.write_bytes(data[:length])
            compare(path, library)


def test_flipped_bytes_are_met_alike(library: Library, tmp_path: Path) -> None:
    path = tmp_path / "flipped"
    for golden in GOLDEN:
        data = bytearray(golden.read_bytes())
        pick = random.Random(len(data))
        for at in pick.sample(range(len(data)), examples(100)):
            before = data[at]
            data[at] ^= 1 << pick.randrange(8)
            path.write_bytes(data)
            compare(path, library)
            data[at] = before


def test_damage_behind_valid_checksums_is_met_alike(library: Library, tmp_path: Path) -> None:
    path = tmp_path / "forged"
    pick = random.Random(6)
    for golden in GOLDEN:
        for _ in range(examples(100)):
            forgery = Forgery.of(golden.read_bytes())
            if not forgery.parts:
                break
            pieces = forgery.parts[pick.choice(sorted(forgery.parts))]
            number = pick.randrange(len(pieces))
            piece = bytearray(pieces[number])
            for _ in range(1 + pick.randrange(3)):
                if piece:
                    piece[pick.randrange(len(piece))] = pick.randrange(256)
            pieces[number] = bytes(piece)
            path.write_bytes(forgery.signed())
            compare(path, library)


def test_the_attacks_are_met_alike(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every kind of them; of the random ones a sample, as the tests above try all of theirs."""
    monkeypatch.setenv("TAUT_LIBRARY", library.c._name)
    for name in ("CI", "TAUT_SLOW"):
        monkeypatch.delenv(name, raising=False)
    attacks = [
        f"tests/attacks/test_{name}.py" for name in ("indexes", "headers", "bounds", "streams")
    ]
    said = run(
        sys.executable, "-m", "pytest", "-q", "-p", "tests.capi.shadow", "-p", "no:cacheprovider",
        *attacks,
    )  # fmt: skip
    (counts,) = re.findall(r"libtaut: ({.*})", said)
    found = ast.literal_eval(counts)
    assert found["same"] > 300 and found["refused"] > 600, found
