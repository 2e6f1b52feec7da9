"""The sentence encoder as people put it on a page: float32, float16, int8, and Taut files."""

from __future__ import annotations

import csv
import hashlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from tokenizers import Tokenizer

from bench.data.assets import asset
from bench.web.way_names import INT8
from taut.demo.minilm import find_minilm

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path[:0] = [str(EXAMPLES), str(EXAMPLES / "web")]

from compile_bert import build_encoder  # type: ignore[import-not-found] # noqa: E402
from graph import export, write_graph  # type: ignore[import-not-found] # noqa: E402
from prepare import Encoder, copy_pages, example  # type: ignore[import-not-found] # noqa: E402

__all__ = ["Judge", "copy_pages", "squeeze", "texts", "write_ways"]
SMALL = 1024  # values of a tensor that stays float32
Way = dict[str, str]

_BROTLI = """
const {brotliCompressSync, constants: c} = require("zlib"), fs = require("fs");
const path = process.argv[1];
const params = {[c.BROTLI_PARAM_QUALITY]: 11, [c.BROTLI_PARAM_LGWIN]: 24};
fs.writeFileSync(path + ".br", brotliCompressSync(fs.readFileSync(path), {params}));
"""


def write_ways(folder: Path, encoders: dict[str, Path]) -> dict[str, Way]:
    """Write every way into a folder; gives what the page is told of each."""
    network, inputs = Encoder().eval(), example()
    found: dict[str, Way] = {}
    if not (folder / "float16.onnx").is_file():
        model = export(network, inputs, free=("batch", "tokens"), output="last_hidden_state")
        onnx.save(model, folder / "float32.onnx")
        halve(model)
        onnx.save(model, folder / "float16.onnx")
    for name in ("float32", "float16"):
        found[name] = {"onnx": f"{name}.onnx"}
    for name, every in (("int8", False), ("int8c", True)):  # one scale, or one for each column
        path = folder / f"{name}.onnx"
        if not path.is_file():
            whole = folder / "float32.onnx"
            quantize_dynamic(whole, path, weight_type=QuantType.QInt8, per_channel=every)
        squeeze(path)
        found[INT8[every]] = {"onnx": path.name}
    for name, path in encoders.items():
        (folder / f"{name}.taut.safetensors").write_bytes(path.read_bytes())
        write_graph(
            network, inputs, path, folder / f"{name}.onnx", free=("batch", "tokens"),
            prefix="inner.", output="last_hidden_state",
        )  # fmt: skip
        squeeze(folder / f"{name}.onnx")
        way = {"graph": f"{name}.onnx", "weights": f"{name}.taut.safetensors"}
        found[name] = {"encoder": "bert.wasm", **way}
        found[f"{name}, onnxruntime"] = way
    build_encoder(folder / "bert.wasm")
    return found


def halve(model: onnx.ModelProto) -> None:
    """Store the larger tensors as float16; a Cast makes float32 of each when it is loaded."""
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and np.prod(tensor.dims) >= SMALL:
            name, values = tensor.name, numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}/half"))
            casts.append(helper.make_node("Cast", [tensor.name], [name], to=1))
    nodes = [*casts, *model.graph.node]
    model.graph.ClearField("node")
    model.graph.node.extend(nodes)


def squeeze(path: Path) -> None:
    """Put the brotli encoding of a file beside it, as small as brotli makes it (by Node)."""
    mark = path.with_name(f".{path.name}.sum")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if mark.is_file() and mark.read_text() == digest:
        return
    subprocess.run(["node", "-e", _BROTLI, str(path)], check=True)
    mark.write_text(digest)


def texts() -> dict[str, list[str]]:
    """What the answers are judged on: sentences, and lines of an encyclopedia."""
    with asset("text/stsb/sts-test.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    wiki = asset("text/wikitext2/test.txt").read_text(encoding="utf-8").splitlines()
    wiki = [line.strip() for line in wiki if len(line) > 40 and not line.startswith(" =")]
    return {
        "STS-B": list(dict.fromkeys(row[5] for row in rows))[:300],
        "WikiText-2": wiki[:: len(wiki) // 100][:100],
    }


class Judge:
    """Embeds texts with a way's graph in onnxruntime."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tokens = Tokenizer.from_file(str(find_minilm() / "tokenizer.json"))
        self._tokens.enable_truncation(64)

    def embed(self, way: Way, lines: Sequence[str]) -> np.ndarray:
        """Vectors of unit length, (texts, 384)."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        if "weights" in way:
            import taut

            taut.decompress(
                self._folder / way["weights"], self._folder / "model.safetensors", force=True
            )
        graph = self._folder / way.get("onnx", way.get("graph", ""))
        session = onnxruntime.InferenceSession(str(graph), options)
        found = []
        for line in lines:
            ids = np.array([self._tokens.encode(line).ids], np.int64)
            ids = ids[:, : int((ids != 0).sum())]
            feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
            feed["token_type_ids"] = np.zeros_like(ids)
            asked = {one.name: feed[one.name] for one in session.get_inputs()}
            mean = session.run(None, asked)[0][0].mean(0)
            found.append(mean / np.linalg.norm(mean))
        (self._folder / "model.safetensors").unlink(missing_ok=True)
        return np.stack(found)
