"""`taut doctor`: what is there and what is missing, and no failure where something is broken."""

import json
import re
import sys
import tempfile
import types
from importlib.metadata import metadata

import pytest

from taut.cli import _machine

OWN = {"test", "bench", "docs", "dev"}  # extras that only work on Taut itself takes


def test_it_tells_of_the_machine_in_lines_and_in_json(run):
    found = json.loads(run("doctor", "--json").stdout)
    assert found["temporary"]["folder"] == tempfile.gettempdir()
    assert found["temporary"]["free"] > 0
    assert found["memory"]["total"] >= found["memory"]["available"] > 0
    assert "portable" in found["core"]["kernels"]
    lines = run("doctor").stdout.splitlines()
    labels = {line.split()[0] for line in lines if line and not line.startswith(" ")}
    assert {"taut", "core", "processor", "memory", "temporary", "GPU", "extras"} <= labels


def test_every_extra_has_a_purpose():
    assert set(_machine.PURPOSES) == set(metadata("taut").get_all("Provides-Extra")) - OWN


def test_a_missing_extra_is_named_with_what_to_type(run, monkeypatch):
    known = _machine._version
    monkeypatch.setattr(_machine, "_version", lambda name: None if name == "gguf" else known(name))
    line = next(one for one in run("doctor").stdout.splitlines() if one.startswith("  gguf "))
    assert re.search(r"no .*pip install 'taut\[gguf\]' \(missing: gguf\)", line)


@pytest.mark.parametrize("error", [OSError("no such library"), RuntimeError("old driver")])
def test_a_broken_pytorch_is_said_and_not_raised(run, monkeypatch, error):
    def broken():
        raise error

    torch = types.SimpleNamespace(cuda=types.SimpleNamespace(device_count=broken))
    monkeypatch.setattr(_machine, "_version", lambda name: "2.0")
    monkeypatch.setitem(sys.modules, "torch", torch)
    result = run("doctor")
    assert result.exit_code == 0
    assert str(error) in result.stdout
