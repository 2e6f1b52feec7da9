"""The whole file in docs/training.md does what the page says; plans in the pages are read."""

import json
import re
from pathlib import Path

import pytest

import taut
from taut.networks import load_callable
from taut.planning.plan import read_plan

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def build(tmp_path):
    pytest.importorskip("torch")
    found = re.search(
        r"```python\n(import torch\n.*?)```", (DOCS / "training.md").read_text(), re.S
    )
    path = tmp_path / "build.py"
    path.write_text(found[1])
    return path


@pytest.mark.parametrize("how", [("batches", "--epochs", 4), ("fit",)], ids=["batches", "fit"])
def test_the_page_s_model_gets_small_and_reloads(run, build, tmp_path, how):
    result = run(
        *("compress", f"{build}:model", "--train", f"{build}:{how[0]}", *how[1:]),
        *("--size", "12x", "--eval", f"{build}:score", "--json"),
    )
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    small = tmp_path / "build.taut.safetensors"
    assert small.stat().st_size == told["size"] <= told["original_size"] / 12
    assert told["score"] > told["original_score"] - 0.1 > 0.7
    net = taut.load(small, into=load_callable(f"{build}:model")())
    assert load_callable(f"{build}:score")(net) == pytest.approx(told["score"])
    assert [path.name for path in tmp_path.glob("*.npz")] == []  # the state goes with success


@pytest.mark.parametrize("page", ["plan.md", "training.md"])
def test_the_plans_in_the_pages_are_read(page):
    texts = re.findall(r"```yaml\n(.*?)```", (DOCS / page).read_text(), re.S)
    assert texts
    for text in texts:
        assert read_plan(text).taut == 1
