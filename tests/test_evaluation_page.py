"""The whole file in docs/evaluation.md does what the page says of it."""

import re
from pathlib import Path

import pytest

import taut
from taut.networks import load_callable

pytest.importorskip("torch")
pytest.importorskip("sklearn")

PAGE = Path(__file__).parents[1] / "docs" / "evaluation.md"


def test_the_page_s_file_is_judged(tmp_path):
    found = re.search(r"```python\n(import torch\n.*?)```", PAGE.read_text(), re.DOTALL)
    build = tmp_path / "build.py"
    build.write_text(found[1])
    small = tmp_path / "small.taut.safetensors"
    taut.compress(f"{build}:model", small, bits=5)
    judged = taut.evaluate(
        small,
        load_callable(f"{build}:score"),
        against=f"{build}:model",
        batches=f"{build}:batches",
    )
    (pair, *_), metric = judged.paired, judged.model.scores.metrics[0]
    assert metric.low <= metric.value == 1 + pair.difference <= metric.high
    assert (pair.gained, pair.lost) == (0, round(500 * (1 - metric.value)))
    assert [layer.name for layer in judged.fidelity.layers] == ["0", "2"]


def test_the_page_names_every_option():
    pytest.importorskip("typer")
    from typer.main import get_command

    from taut.cli.app import app

    options = {
        name
        for parameter in get_command(app).commands["eval"].params
        for name in parameter.opts
        if name.startswith("--") and name not in ("--force", "--quiet", "--help")
    }
    assert not {name for name in options if f"`{name}" not in PAGE.read_text()}
