"""`taut eval` as a command: what it says, what it prints, and how it fails."""

import json
import os
import re
import textwrap

import numpy as np
import pytest

import taut
from taut.networks import load_callable

BUILD = """
    import torch

    torch.manual_seed(0)
    layers = torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4)
    net = torch.nn.Sequential(*layers)
    inputs = torch.randn(200, 16, generator=torch.Generator().manual_seed(1))
    labels = net(inputs).argmax(1)
    calls = []

    def model():
        return net

    def other():
        return torch.nn.Linear(3, 3)

    def batches():
        return [inputs[:50], inputs[50:100]]

    def score(net):
        return {"labels": labels, "logits": net(inputs)}

    def spoils(net):
        for parameter in net.parameters():
            parameter.data.zero_()
        return 0.5

    def broken(net):
        raise RuntimeError("no data set here")

    def words(net):
        return "good"

    def empty(net):
        return {"labels": [], "logits": []}

    def short(net):
        return {"labels": labels[:9], "logits": net(inputs)}

    def nan(net):
        return {"labels": labels, "logits": net(inputs) * float("nan")}

    def outside(net):
        return {"labels": labels + 2, "logits": net(inputs)}

    def texts(net):
        return {"labels": ["a", "b"], "predictions": ["a", "b"]}

    def fewer(net):
        calls.append(net)
        return {"labels": labels[len(calls):], "logits": net(inputs)[len(calls):]}
"""


@pytest.fixture
def build(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    path = tmp_path / "build.py"
    path.write_text(textwrap.dedent(BUILD))
    return path


@pytest.fixture
def file(build, tmp_path):
    path = tmp_path / "x.taut.safetensors"
    taut.compress(f"{build}:model", path, plan={"0.weight": "int2", "2.weight": "int2"})
    return path


@pytest.fixture
def judge(run, build, file):
    """Judge the file by a score of BUILD, against its model."""

    def invoke(score, *args):
        given = ("--score", f"{build}:{score}", "--original", f"{build}:model")
        return run("eval", file, *given, *(str(arg).replace("BUILD", str(build)) for arg in args))

    return invoke


def test_it_says_what_was_lost(judge):
    done = judge("score", "--calib", "BUILD:batches", "--memory", "-q")
    assert done.exit_code == 0, done.stderr
    assert done.stderr == ""
    assert "before" in done.stdout and "after" in done.stdout
    assert re.search(r"accuracy +100.00 % \(100.00 to 100.00 %\) +\d+\.\d\d % \(\d", done.stdout)
    assert "samples, better on 0: p = " in done.stdout
    assert "layers that add most error by themselves: " in done.stdout
    assert "smaller, not faster" in done.stdout
    assert "KINETO_LOG_LEVEL" not in os.environ


def test_json_is_the_evaluation_as_data(judge, file):
    done = judge("score", "--calib", "BUILD:batches", "--speed", "--seed", 3, "--json")
    tree = json.loads(done.stdout)
    assert tree["model"]["size"] == file.stat().st_size
    assert tree["original"]["scores"]["metrics"][0]["value"] == 1
    assert tree["paired"][0]["lost"] == 200 - round(
        200 * tree["model"]["scores"]["metrics"][0]["value"]
    )
    assert [layer["name"] for layer in tree["fidelity"]["layers"]] == ["0", "2"]
    assert tree["model"]["speed"]["batch"] == 50
    assert tree["provenance"]["seed"] == "3"
    assert tree["provenance"]["original"] == "build.py:model", "no paths of the machine"


def test_a_score_may_spoil_its_copy(judge):
    done = judge("spoils", "--calib", "BUILD:batches", "--json")
    tree = json.loads(done.stdout)
    assert 0.8 < tree["fidelity"]["cosine"] < 1
    assert tree["model"]["scores"]["metrics"][0] == {
        "name": "score", "value": 0.5, "low": None, "high": None, "better": "higher",
        "per_class": [],
    }  # fmt: skip


def test_the_page_shows_values_before_and_after(judge, tmp_path):
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    done = judge("score", "--html", tmp_path / "page.html")
    assert done.exit_code == 0, done.stderr
    assert "XXH3 of the original" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    ("score", "told"),
    [
        ("broken", "score: failed: RuntimeError: no data set here"),
        ("words", "score: gave a str; it must give one number"),
        ("empty", "score: labels: is empty"),
        ("short", "score: 9 labels and 200 logits"),
        ("nan", "score: logits: not finite at sample 0 (200 such samples)"),
        ("outside", "is no class: they go from 0 to 3"),
        ("texts", "score: labels: are texts; give numbers"),
        ("fewer", "score: gave 199 samples, and 198 of the original"),
        ("missing", 'has no "missing"'),
    ],
)
def test_what_is_no_score_is_one_line(judge, score, told):
    done = judge(score, "-q")
    assert done.exit_code == 2
    assert done.stdout == ""
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("FILE",), "give score (--score) or calib (--calib)"),
        (("FILE", "--original", "FILE"), "to run the model on; diff compares the weights alone"),
        (("FILE", "--score", "BUILD:score"), "holds weights alone"),
        (("FILE", "--score", "BUILD:score", "--original", "BUILD:other"), "does not fit Linear"),
        (("FILE", "--score", "BUILD:score", "--original", "FILE"), "holds weights alone"),
        (("BUILD:model", "--score", "BUILD:score", "--speed"), "give calib (--calib)"),
        (("BUILD:model", "--score", "BUILD:score", "--watts", "0"), "watts 0.0 must be more"),
        (("nowhere", "--score", "BUILD:score"), "no such file or folder"),
        (("BUILD:model", "--score", "BUILD:broken", "--html", "BUILD"), "exists; give -f"),
    ],
)
def test_mistakes_are_told_before_the_work(run, build, file, args, told):
    given = [arg.replace("BUILD", str(build)).replace("FILE", str(file)) for arg in args]
    done = run("eval", *given, "--json", "-q")
    assert done.exit_code == 2
    assert told in done.stderr
    assert told in json.loads(done.stdout)["error"]


def test_a_missing_extra_is_named(judge, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn", None)
    done = judge("score", "-q")
    assert done.exit_code == 2
    assert "pip install 'taut[eval]'" in done.stderr


def test_a_damaged_file_is_4(judge, file):
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    file.write_bytes(bytes(data))
    assert judge("score", "-q").exit_code == 4


def test_onnx_is_judged_by_itself_and_beside_its_network(run, build, tmp_path):
    pytest.importorskip("onnxruntime")
    path = tmp_path / "x.onnx"
    save_graph(load_callable(f"{build}:model")(), path)
    given = ("--score", f"{build}:score", "--json", "-q")
    alone = json.loads(run("eval", path, *given).stdout)["model"]
    assert (alone["size"], alone["parameters"]) == (path.stat().st_size, 16 * 32 + 32 + 32 * 4 + 4)
    beside = ("--original", f"{build}:model", "--calib", f"{build}:batches")
    tree = json.loads(run("eval", path, *given, *beside).stdout)
    assert tree["paired"][0]["agreement"] == 1
    assert tree["fidelity"]["rel_mse"] < 1e-10
    assert any("no layers of a graph" in note for note in tree["notes"])


def save_graph(net, path):
    """The network of BUILD as ONNX."""
    onnx = pytest.importorskip("onnx")
    tensors = {name.replace(".", "_"): one.numpy() for name, one in net.state_dict().items()}
    nodes = [
        onnx.helper.make_node("Gemm", ["x", "0_weight", "0_bias"], ["a"], transB=1),
        onnx.helper.make_node("Relu", ["a"], ["b"]),
        onnx.helper.make_node("Gemm", ["b", "2_weight", "2_bias"], ["y"], transB=1),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "net",
        [onnx.helper.make_tensor_value_info("x", 1, ["batch", 16])],
        [onnx.helper.make_tensor_value_info("y", 1, ["batch", 4])],
        [onnx.numpy_helper.from_array(one, name) for name, one in tensors.items()],
    )
    opset = onnx.helper.make_opsetid("", 17)
    onnx.save(onnx.helper.make_model(graph, ir_version=9, opset_imports=[opset]), path)


def test_what_a_file_is_called_does_not_matter(judge, run, build, file):
    plain = file.rename(file.with_name("weights"))
    done = run("eval", plain, "--score", f"{build}:score", "--original", f"{build}:model", "-q")
    assert done.exit_code == 0, done.stderr


def test_numbers_are_those_of_numpy(judge, build):
    tree = json.loads(judge("score", "--json", "-q").stdout)
    confusion = np.array(tree["model"]["scores"]["confusion"])
    assert confusion.trace() / 200 == tree["model"]["scores"]["metrics"][0]["value"]
