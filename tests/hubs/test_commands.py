"""Commands on models of the hub: every one takes its URL, and none tells where it lies here."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import taut
from taut.cli.app import app

from .server import Hub

safetensors = pytest.importorskip("safetensors.numpy")

URL = "hf://org/net"


@pytest.fixture
def run(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run a command in an empty folder; `org/net` is a model, `org/small` what became of it."""
    values = np.random.default_rng(0).normal(size=(64, 128)).astype(np.float32)
    files = {"model.safetensors": safetensors.save({"w": values}), "tf_model.h5": b"x"}
    hub.add("org/net", files)
    taut.compress({"w": values}, tmp_path / "small.taut.safetensors")
    hub.add("org/small", {"s.taut.safetensors": (tmp_path / "small.taut.safetensors").read_bytes()})
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    def invoke(*words: str) -> Result:
        found = CliRunner().invoke(app, words)
        assert found.exit_code == 0, found.stderr
        assert str(tmp_path / "hub-cache") not in found.stderr
        return found

    return invoke


def test_every_command_takes_the_url(run: Callable[..., Result]) -> None:
    found = run("compress", URL, "-o", "net", "--json")
    assert "left on the hub: tf_model.h5" in found.stderr
    assert json.loads(found.stdout)["path"] == "net/model.taut.safetensors"
    assert "w" in run("analyze", URL).stdout
    assert "target: {bits: 4.0}" in run("plan", URL, "--bits", "4").stdout
    swept = run("frontier", URL, "--bits", "3", "--schemes", "none", "--json")
    assert [point["name"] for point in json.loads(swept.stdout)["points"]] == ["3 bits"]
    small = "hf://org/small"
    assert json.loads(run("info", small, "--json").stdout)["path"] == f"{small}/s.taut.safetensors"
    assert small in run("verify", small).stderr
    assert small in run("verify", f"{small}/s.taut.safetensors").stderr
    run("decompress", f"{small}/s.taut.safetensors", "-o", "back.safetensors")
    run("export", small, "plain.safetensors")
    run("report", small, "--original", URL)
    assert sorted(path.name for path in Path().iterdir()) == [
        "back.safetensors", "net", "plain.safetensors", "small.html",
    ]  # fmt: skip


def test_neither_a_comparison_nor_an_error_tells_where_files_lie_here(
    run: Callable[..., Result], hub: Hub, tmp_path: Path
) -> None:
    told = run("diff", URL, "hf://org/small", "--json").stdout
    found = json.loads(told)
    assert found["first"] == f"{URL}/model.safetensors"
    assert found["second"] == "hf://org/small/s.taut.safetensors"
    hub.add("org/none", {"README.md": b"x"})
    failed = CliRunner().invoke(app, ["compress", "hf://org/none", "-o", "n"])
    assert failed.exit_code == 2
    assert "hf://org/none: no weights" in failed.stderr
    assert str(tmp_path) not in told + failed.stderr


def test_what_is_written_lies_here(hub: Hub) -> None:
    for words in (["analyze", "x", "-o", "hf://org/x"], ["plan", "x", "-o", "s3://bucket/p.yaml"]):
        found = CliRunner().invoke(app, words)
        assert found.exit_code == 2
        assert "is in a store; --output writes to this machine" in found.stderr


def test_a_fresh_process_knows_the_hubs_settings(hub: Hub) -> None:
    code = "from taut.io.hub_words import endpoint, is_offline; print(endpoint(), is_offline())"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == [hub.url, "False"]
