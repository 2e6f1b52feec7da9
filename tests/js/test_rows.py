"""Chosen rows over the network: the chunks that hold them come, each once, and no others."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
from tests.js.conftest import ROOT, node

import taut

FIRST = 65_536  # bytes of a file that come when it is opened
ROWS = [39_999, 3, 1_000, 39_990, 5, 3]
SCRIPT = """
import {readFileSync} from "node:fs";
import {pathToFileURL} from "node:url";
const [known, file, rows] = process.argv.slice(2);
const {serve, taut} = await import(pathToFileURL(known));
const data = readFileSync(file);
const server = await serve({"/t": data});
const m = await taut.open(`${server.url}/t`);
const before = {bytes: server.seen.bytes, requests: server.seen.requests.length};
const found = await m.gather("table", JSON.parse(rows));
const bytes = server.seen.bytes - before.bytes;
const requests = server.seen.requests.slice(before.requests)
    .map((one) => one.split("=")[1].split("-").map(Number));
console.log(JSON.stringify({bytes, requests, values: [...found]}));
await server.close();
"""


def test_the_chunks_that_hold_rows_are_fetched_and_no_others(package: Path, tmp_path: Path) -> None:
    table = np.random.default_rng(3).standard_normal((40_000, 16)).astype(np.float32)
    path = taut.compress({"table": table}, tmp_path / "t.taut.safetensors", effort="fast").path
    place = taut.load(path).contents.places["table"]
    ends = place.entry.start + np.cumsum([part.nbytes for part in place.parts])
    chunks = [(int(begin), int(end) - 1) for begin, end in pairwise(ends)]
    assert len(chunks) >= 3
    script = tmp_path / "rows.mjs"
    script.write_text(SCRIPT)
    said = node(script, ROOT / "js" / "test" / "known.mjs", path, json.dumps(ROWS))
    found = json.loads(said)
    assert np.array_equal(np.reshape(found["values"], (-1, 16)).astype(np.float32), table[ROWS])
    wide = [one for one in found["requests"] if one[1] - one[0] > 1000]  # not header and padding
    assert sorted(wide) == [[FIRST, chunks[0][1]], [*chunks[-1]]]
    assert found["bytes"] < sum(end - begin for begin, end in (chunks[0], chunks[-1])) + 3000
