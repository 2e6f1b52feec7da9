"""The promises of the design, where a network is trained: from the command line to the file."""

from __future__ import annotations

import json
import textwrap

import pytest
from typer.testing import CliRunner

import taut
from taut.cli.app import app

BUILD = """
    import torch

    def batches():
        generator = torch.Generator().manual_seed(1)
        inputs = torch.randn(6, 32, 20, generator=generator)
        return [(x, x[:, :4].argmax(1)) for x in inputs]

    def model():
        torch.manual_seed(0)
        layers = torch.nn.Linear(20, 64), torch.nn.ReLU(), torch.nn.Linear(64, 4)
        net = torch.nn.Sequential(*layers)
        fit(net, lambda task: task)
        return net

    def score(net):
        return 100 * float(sum((net(x).argmax(1) == y).float().mean() for x, y in batches())) / 6

    def fit(net, loss):
        optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
        if hasattr(loss, "total"):  # not when the network is trained at first
            loss.total = 30
        for _ in range(5):
            for x, y in batches():
                optimizer.zero_grad()
                loss(torch.nn.functional.cross_entropy(net(x), y)).backward()
                optimizer.step()

    def never(net, loss):
        pass

    def stops(net, loss):
        raise ValueError("no more data")
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
        words = [str(a).replace("BUILD", str(build)) for a in args]
        command = ["compress", "BUILD:model".replace("BUILD", str(build)), "-o", tmp_path / "x"]
        result = CliRunner().invoke(app, [str(word) for word in [*command, *words]])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke


def written(tmp_path):
    return sorted(p.name for p in tmp_path.iterdir() if p.is_file() and p.name != "build.py")


@pytest.mark.parametrize(
    "train", [("BUILD:batches", "--epochs", 5, "--lr", 0.02), ("BUILD:fit",)], ids=["loop", "fit"]
)
def test_1_and_2_the_size_is_met_and_the_score_is_the_files(run, build, tmp_path, train):
    from taut.networks import load_callable

    result = run("--train", *train, "--size", "4x", "--score", "BUILD:score", "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert (tmp_path / "x").stat().st_size == told["size"] <= told["original_size"] / 4
    net = taut.load(tmp_path / "x", into=load_callable(f"{build}:model")())
    score = load_callable(f"{build}:score")
    assert score(net) == told["score"] > told["original_score"] - 5 > 60
    assert "judged" in result.stderr and "identical to what was evaluated" in result.stderr
    assert written(tmp_path) == ["x"]


def test_2_a_size_out_of_reach_exits_3_and_writes_nothing(run, tmp_path):
    result = run("--train", "BUILD:batches", "--epochs", 1, "--size", 200)
    assert result.exit_code == 3
    assert "200 bytes were asked for; training cannot get below" in result.stderr
    assert written(tmp_path) == []


@pytest.mark.parametrize(
    ("loop", "told"),
    [
        ("never", "ended without asking for the loss"),
        ("stops", "the loop failed: ValueError: no more data"),
    ],
)
def test_5_a_loop_that_fails_is_a_line_and_leaves_nothing(run, tmp_path, loop, told):
    result = run("--train", f"BUILD:{loop}", "--size", "4x", "-q")
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert told in line
    assert written(tmp_path) == []


def test_3_a_dry_run_writes_nothing(run, tmp_path):
    result = run("--train", "BUILD:batches", "--epochs", 1, "--size", "3x", "--dry-run")
    assert result.exit_code == 0, result.stderr
    assert "nothing written" in result.stderr
    assert written(tmp_path) == []
