"""Models from Taut files in onnxruntime-web and transformers.js, where `make clients` has them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.js.conftest import ROOT, node

import taut

MODULES = ROOT / "build" / "clients"
BERT = {
    "vocab_size": 12, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 16, "max_position_embeddings": 32,
}  # fmt: skip


def client(name: str) -> Path:
    """The modules of a client of bench/clients."""
    modules = MODULES / name / "node_modules"
    if not modules.is_dir():
        pytest.skip(
            f"{name} is not installed, since the tests fetch nothing from npm: "
            f"python -m bench.clients.check --install {name}"
        )
    return modules


def test_onnxruntime_web_takes_what_comes_back(package: Path, tmp_path: Path) -> None:
    modules = client("onnxruntime-web")
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    values = np.random.default_rng(8).standard_normal((300, 20)).astype(np.float32)
    shapes = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, width])
        for name, width in (("x", 300), ("y", 20))
    ]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "g", shapes[:1], shapes[1:],
        [numpy_helper.from_array(values, "w")],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "net.onnx")
    taut.compress(tmp_path / "net.onnx", tmp_path / "net.taut.safetensors")
    script = Path(__file__).with_name("clients.mjs")
    found = json.loads(node(script, package, modules, tmp_path))
    expected = np.sin(np.arange(300, dtype=np.float32)) @ values
    assert np.allclose(found["net"], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow("exports a network, and loads transformers.js")
def test_a_pipeline_of_transformers_js_runs_from_a_taut_file(package: Path, tmp_path: Path) -> None:
    modules = client("transformers-js")
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path / "model"
    folder.mkdir()
    words = "[PAD] [UNK] [CLS] [SEP] [MASK] why does my bread not rise ?"
    (folder / "vocab.txt").write_text(words.replace(" ", "\n"))
    tokenizer = BertTokenizerFast(vocab_file=str(folder / "vocab.txt"))
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    network = BertModel(BertConfig(**BERT), add_pooling_layer=False).eval()
    network.config.save_pretrained(folder)
    given = tokenizer("Why does my bread not rise?", return_tensors="pt")
    path = tmp_path / "model.onnx"
    names = ("input_ids", "attention_mask", "token_type_ids")
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens")}
    batch = tuple(torch.cat([given[name], given[name]]) for name in names)
    torch.onnx.export(
        network, batch, path, dynamo=True, input_names=list(names),
        output_names=["last_hidden_state"], dynamic_shapes=(axes,) * 3, external_data=False,
        verbose=False,
    )  # fmt: skip
    (folder / "onnx").mkdir()
    taut.compress(path, folder / "onnx" / "model.taut.safetensors")
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    script = Path(__file__).with_name("clients.mjs")
    found = json.loads(node(script, package, modules, tmp_path))
    with torch.inference_mode():
        mean = network(**given).last_hidden_state[0].mean(0)
    expected = (mean / mean.norm()).numpy()
    assert np.allclose(found["embedding"], expected, atol=1e-4)
