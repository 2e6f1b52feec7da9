"""The pages of examples/web: their tokenizer, and that what they load is there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.js.conftest import ROOT, node

import taut

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


EMBED = """
import {readFileSync} from "node:fs";
import {pathToFileURL} from "node:url";
const [pages, home, code, file, rows] = process.argv.slice(2);
const {Bert} = await import(pathToFileURL(`${pages}/bert.js`));
const taut = await import(pathToFileURL(`${home}/index.js`));
const open = await taut.open(file);
const bert = await Bert.from(await WebAssembly.compile(readFileSync(code)), open, {heads: 4});
const found = [];
for (let round = 0; round < 2; round++)  // rows of words that are new, and known
    found.push((await bert.embed(JSON.parse(rows))).map((one) => [...one]));
console.log(JSON.stringify(found));
"""


def test_the_encoder_of_the_page_gives_the_vectors_of_the_network(package, tmp_path: Path) -> None:
    transformers, torch = map(pytest.importorskip, ("transformers", "torch"))
    pytest.importorskip("ziglang")
    config = transformers.BertConfig(
        vocab_size=90, hidden_size=48, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=100, max_position_embeddings=20,
    )  # fmt: skip
    torch.manual_seed(3)
    net = transformers.BertModel(config, add_pooling_layer=False).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(3).add_(0.02)
    path = taut.compress(net, tmp_path / "bert.taut.safetensors").path
    subprocess.run([sys.executable, PAGES / "compile_bert.py", tmp_path / "bert.wasm"], check=True)
    script = tmp_path / "embed.mjs"
    script.write_text(EMBED)
    for rows in ([[5]], [[3, 8, 9], [1], [89, *range(18), 4], [0, 0]]):
        once, again = json.loads(
            node(script, PAGES, package, tmp_path / "bert.wasm", path, json.dumps(rows))
        )
        assert once == again
        with torch.no_grad():
            means = [net(torch.tensor([row])).last_hidden_state[0].mean(0) for row in rows]
        wanted = torch.stack([mean / mean.norm() for mean in means])
        torch.testing.assert_close(torch.tensor(once), wanted, atol=2e-6, rtol=0)


REFUSE = """
import {pathToFileURL} from "node:url";
const [pages, encoder] = process.argv.slice(2);
const {Bert} = await import(pathToFileURL(`${pages}/bert.js`));
const dtype = "F32";
const tensors = Object.entries(JSON.parse(encoder)).map(([name, shape]) => ({name, shape, dtype}));
const refused = async (some, heads = 4) => {
    const made = Bert.from(undefined, {tensors: some}, {heads});
    return made.then(() => "taken", (error) => error.message);
};
const found = {
    as_it_is: await refused(tensors), heads: await refused(tensors, 7),
    more: await refused([...tensors, {name: "encoder.more", shape: [4], dtype}])
};
for (const one of tensors) {
    const others = tensors.filter((other) => other !== one);
    const as = (shape) => refused([...others, {...one, shape}]);
    found[`no ${one.name}`] = await refused(others);
    found[`larger ${one.name}`] = await as(one.shape.map((size) => size + 4));
    if (one.shape.length > 1)
        found[`flat ${one.name}`] = await as([one.shape[0] * one.shape[1]]);
}
console.log(JSON.stringify(found));
"""


def test_a_file_that_is_no_such_encoder_gives_no_vectors(tmp_path: Path) -> None:
    """A tensor that is missing, or of another shape, would be read as whatever lies there."""
    if shutil.which("node") is None:
        pytest.skip("no node here: JavaScript is not tested")
    layer = {f"attention.self.{name}": (48, 48) for name in ("query", "key", "value")}
    layer |= {"attention.output.dense": (48, 48), "intermediate.dense": (100, 48)}
    layer |= {"output.dense": (48, 100), "attention.output.LayerNorm": (48,)}
    layer |= {"output.LayerNorm": (48,)}
    shapes = {f"embeddings.{kind}_embeddings.weight": (rows, 48)
              for kind, rows in (("word", 90), ("position", 20), ("token_type", 2))}  # fmt: skip
    for at, name, shape in [
        ("embeddings.", "LayerNorm", (48,)),
        *((f"encoder.layer.{number}.", *one) for number in (0, 1) for one in layer.items()),
    ]:
        shapes |= {f"{at}{name}.weight": shape, f"{at}{name}.bias": shape[:1]}
    script = tmp_path / "refuse.mjs"
    script.write_text(REFUSE)
    found = json.loads(node(script, PAGES, json.dumps(shapes)))
    matrices = sum(len(shape) == 2 for shape in shapes.values())
    assert len(shapes) == 37 and len(found) == 3 + 2 * len(shapes) + matrices
    told = "the file is no encoder of BERT's kind"
    assert not found.pop("as_it_is").startswith(told)  # it went on, to a module that is not there
    assert [name for name, said in found.items() if not said.startswith(told)] == []


def test_what_a_page_names_lies_beside_it() -> None:
    made = {"./taut/index.js", "./runtime/ort.wasm.min.mjs", "models.json"}  # by prepare.py
    for page in [*PAGES.glob("*.html"), *PAGES.glob("*.js")]:
        text = page.read_text(encoding="utf-8")
        named = re.findall(r'(?:src|href)="([\w.]+)"|from "(\./[\w./-]+)"', text)
        for one in {name for pair in named for name in pair if name} - made:
            assert (PAGES / one).is_file(), (page.name, one)
        assert "http://" not in text.replace("http://www.w3.org", "") and "https://" not in text
