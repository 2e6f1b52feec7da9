"""The pages of examples/web: their tokenizer, and that what they load is there."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from tests.js.conftest import ROOT, node

PAGES = ROOT / "examples" / "web"
TEXTS = (
    "Why does my bread not rise?", "Café 北京 naïve—don't $5 <b> \t unbelievably 12345678901",
    "", "ÀÉÎ ÕÜ ß ø İ", "a" * 200, "emoji 🙂 and\u200bzero width, (brackets) [x] {y} ~`^|",
)  # fmt: skip
SCRIPT = """
import {readFileSync} from "node:fs";
import {pathToFileURL} from "node:url";
const [pages, vocabulary, texts] = process.argv.slice(2);
const {WordPiece} = await import(pathToFileURL(`${pages}/wordpiece.js`));
const words = new WordPiece(readFileSync(vocabulary, "utf8"));
console.log(JSON.stringify(JSON.parse(texts).map((text) => words.encode(text))));
"""


def test_the_tokenizer_gives_the_ids_of_the_encoder(minilm: Path, tmp_path: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("no node here: JavaScript is not tested")
    tokenizers = pytest.importorskip("tokenizers")
    tokenizer = tokenizers.Tokenizer.from_file(str(minilm / "tokenizer.json"))
    tokenizer.no_padding()
    script = tmp_path / "encode.mjs"
    script.write_text(SCRIPT)
    found = json.loads(node(script, PAGES, minilm / "vocab.txt", json.dumps(TEXTS)))
    assert found == [tokenizer.encode(text).ids for text in TEXTS]


def test_what_a_page_names_lies_beside_it() -> None:
    made = {"./taut/index.js", "./runtime/ort.wasm.min.mjs"}  # by prepare.py
    for page in [*PAGES.glob("*.html"), *PAGES.glob("*.js")]:
        text = page.read_text(encoding="utf-8")
        named = re.findall(r'(?:src|href)="([\w.]+)"|from "(\./[\w./-]+)"', text)
        for one in {name for pair in named for name in pair if name} - made:
            assert (PAGES / one).is_file(), (page.name, one)
        assert "http://" not in text.replace("http://www.w3.org", "") and "https://" not in text
