"""Commands on models in stores: names that are URLs, and messages that keep to them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

fsspec = pytest.importorskip("fsspec")


def test_the_commands_take_urls(run: Callable[..., Result], model: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pipe_file("/net.safetensors", model.read_bytes())
    source, made = "memory://net.safetensors", "memory://net.taut.safetensors"
    found = run("compress", source, "-o", made, "--json")
    assert found.exit_code == 0
    assert json.loads(found.stdout)["path"] == made
    assert made in found.stderr
    assert "/tmp" not in found.stderr
    assert made in run("verify", made).stderr
    assert run("info", made).exit_code == 0
    assert run("decompress", made, "-o", "memory://back.safetensors").exit_code == 0
    assert memory.cat_file("/back.safetensors") == model.read_bytes()
    refused = run("compress", source)
    assert refused.exit_code == 2
    assert "name where to write (-o)" in refused.stderr
    missing = run("compress", "memory://no.safetensors", "-o", made, "-f")
    assert missing.exit_code == 2
    assert "memory://no.safetensors: no such file or folder" in missing.stderr
