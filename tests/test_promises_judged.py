"""The promises of the design, where a model is judged and leaves: from the command line."""

from __future__ import annotations

import json
import textwrap

import pytest
from typer.testing import CliRunner

from taut.cli.app import app

BUILD = """
    import torch

    def batches():
        return list(torch.randn(4, 32, 20, generator=torch.Generator().manual_seed(1)))

    def model():
        torch.manual_seed(0)
        layers = torch.nn.Linear(20, 64), torch.nn.ReLU(), torch.nn.Linear(64, 4)
        return torch.nn.Sequential(*layers).eval()

    def score(net):
        inputs = torch.cat(batches())
        return {"labels": model()(inputs).argmax(1), "logits": net(inputs)}
"""


@pytest.fixture
def build(tmp_path):
    pytest.importorskip("torch")
    path = tmp_path / "build.py"
    path.write_text(textwrap.dedent(BUILD))
    return path


@pytest.fixture
def run(build, tmp_path):
    def invoke(*args):
        words = [str(word).replace("BUILD", str(build)) for word in args]
        result = CliRunner().invoke(app, words)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    assert invoke("compress", "BUILD:model", "--bits", "8", "-o", tmp_path / "x").exit_code == 0
    return invoke


def test_7_an_export_is_run_against_the_original_and_says_how_near_it_came(run, tmp_path):
    pytest.importorskip("onnxruntime")
    out = tmp_path / "x.onnx"
    done = run("export", tmp_path / "x", out, "--into", "BUILD:model", "--calib", "BUILD:batches",
               "--json")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    check = json.loads(done.stdout)["check"]
    assert check["runtime"].startswith("onnxruntime") and check["samples"] == 128
    assert 0.99 < check["cosine"] < 1 and 0 < check["max_error"] < 0.5
    assert out.is_file()


def test_7_an_export_that_answers_something_else_is_no_file(run, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    from taut.exporting.onnx import write as room

    save = room._save

    def damage(model, path):
        for tensor in model.graph.initializer:
            if tensor.name == "2.weight":  # int8: -w - 1, nearly the opposite of every logit
                tensor.raw_data = bytes(255 - byte for byte in tensor.raw_data)
        return save(model, path)

    monkeypatch.setattr(room, "_save", damage)
    done = run("export", tmp_path / "x", tmp_path / "x.onnx", "--into", "BUILD:model",
               "--calib", "BUILD:batches")  # fmt: skip
    assert done.exit_code == 4
    assert not list(tmp_path.glob("*.onnx*"))


def test_8_a_smaller_file_is_not_called_a_faster_model(run, tmp_path):
    pytest.importorskip("sklearn")
    done = run("eval", tmp_path / "x", "--original", "BUILD:model", "--score", "BUILD:score",
               "--json")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["model"]["size"] < found["original"]["size"]
    assert any("not faster" in note for note in found["notes"])
    first = found["model"]["scores"]["metrics"][0]
    assert first["name"] == "accuracy" and first["low"] <= first["value"] <= first["high"] <= 1
    assert found["original"]["scores"]["metrics"][0]["value"] == 1
