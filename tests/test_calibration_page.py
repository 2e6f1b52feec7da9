"""The whole file in docs/calibration.md does what the page says of it."""

import re
from pathlib import Path

import pytest

import taut
from taut.networks import load_callable

pytest.importorskip("torch")

PAGE = Path(__file__).parents[1] / "docs" / "calibration.md"


@pytest.fixture
def build(tmp_path):
    found = re.search(r"```python\n(import torch\n.*?)```", PAGE.read_text(), re.DOTALL)
    path = tmp_path / "build.py"
    path.write_text(found[1])
    return path


def test_the_page_s_model_keeps_its_score_and_reloads(build, tmp_path):
    given = {name: f"{build}:{name}" for name in ("model", "batches", "score")}
    score = load_callable(given["score"])
    result = taut.compress(
        given["model"],
        tmp_path / "small.taut.safetensors",
        calib=given["batches"],
        evaluate=score,
        max_drop="1%",
        threads=1,
    )
    net = taut.load(result.path, into=load_callable(given["model"])())
    assert score(net) == pytest.approx(result.score)
    assert result.score >= 0.99 * result.original_score
    assert result.bits < 4
