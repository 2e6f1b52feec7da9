"""An .onnx through the command line and back, named like any other model."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx import helper, numpy_helper  # noqa: E402


@pytest.fixture
def network(tmp_path, rng):
    weights = numpy_helper.from_array(rng.standard_normal((64, 64)).astype(np.float32), "w")
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    ends = [helper.make_tensor_value_info(name, 1, ["n", 64]) for name in "xy"]
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], [weights])
    opsets = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


def test_it_comes_back_under_its_own_name(run, network, tmp_path):
    before = network.read_bytes()
    assert "4,096 parameters" in run("compress", network).stderr
    lines = run("info", tmp_path / "net.taut.safetensors").stdout.splitlines()
    assert [line.split()[0] for line in lines[1:3]] == ["w", "onnx.graph"]
    network.unlink()
    assert run("decompress", tmp_path / "net.taut.safetensors").exit_code == 0
    assert network.read_bytes() == before
    assert run("verify", tmp_path / "net.taut.safetensors").exit_code == 0


def test_it_is_calibrated_and_judged(run, network, tmp_path, rng, monkeypatch):
    pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "data.npz", x=rng.standard_normal((60, 64)).astype(np.float32))
    (tmp_path / "judge.py").write_text(
        "import torch\ndef score(model):\n    return float(model(torch.eye(64)).abs().mean())\n"
    )
    result = run(
        *("compress", network, "--calib", "data.npz", "--bits", 4, "--score", "judge.py:score")
    )
    assert result.exit_code == 0
    assert "judged     " in result.stderr
    assert "ONNX has no gradients" in result.stderr


def test_training_is_refused_in_a_line(run, network, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.py").write_text(
        "import torch\ndef batches():\n    return [(torch.ones(2, 64), torch.ones(2, 64))]\n"
    )
    result = run("compress", network, "--train", "data.py:batches", "--bits", 4)
    assert result.exit_code == 2
    assert "train: an ONNX model has no gradients" in result.stderr


def test_a_bound_of_the_error_is_kept_or_refused(run, network, tmp_path, rng, monkeypatch):
    pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "data.npz", x=rng.standard_normal((8, 64)).astype(np.float32))
    run("compress", network)
    asked = ("net.taut.safetensors", "small.onnx", "--weights", "int4", "--calib", "data.npz")
    result = run("export", *asked, "--max-error", "0.5")
    assert result.exit_code == 0, result.stderr
    refused = run("export", *asked, "-f", "--max-error", "1e-9")
    assert refused.exit_code == 4 and "max_error (--max-error)" in refused.stderr
    other = run("export", "net.taut.safetensors", "a.gguf", "--max-error", "0.5")
    assert (
        other.exit_code == 2
        and "goes with onnx, " in other.stderr
        and "and this is gguf" in other.stderr
    )
