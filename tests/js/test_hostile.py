"""What servers, sources and callers should not do ends in an error of the package's, and soon."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
from tests.js.conftest import node

import taut

GOOD = {
    "sound", "no ranges", "no ranges later", "no size", "a size beyond all", "no options",
    "no rows", "a buffer that is used again",
}  # fmt: skip
OTHERS = {
    "other bytes later": "checksum",
    "an empty answer": "format",
    "too large a size": "format",
    "an endless answer": "memory",
    "a server that never answers": "argument",
    "a body that never comes": "argument",
    "a source that never answers": "argument",
    "no signal": "argument",
    "a symbol": "argument",
}


def test_every_misuse_is_told_and_none_hangs(package: Path, tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(5, 64, 400)).astype(np.float32)
    model = {f"w{number}": one for number, one in enumerate(values)}
    path = taut.compress(model, tmp_path / "net.taut.safetensors").path
    script = Path(__file__).with_name("hostile.mjs")
    found: dict[str, str] = json.loads(node(script, package, path))
    assert len(found) > 40
    for name, came in found.items():
        if re.search(r"read \d on$", name):
            first = name.endswith("0 on")  # of all, which has the header
            assert came in ("checksum", "format")[: 1 + first], (name, came)
            continue
        wanted = "argument" if name.startswith("rows") else OTHERS.get(name, "read")
        assert came == ("ok" if name in GOOD else wanted), name
