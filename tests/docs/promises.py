"""What pages promise of their files beyond running: its folder and its names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

import taut

Names = dict[str, Any]


def _calibrated(folder: Path, names: Names) -> None:
    """The allowed drop is kept, and the file's values give the score that was told."""
    result, score = names["result"], names["score"]
    net = taut.load(folder / result.path, into=names["model"]())
    assert score(net) == pytest.approx(result.score)
    assert result.score >= 0.99 * result.original_score
    assert result.bits < 4


def _trained(folder: Path, names: Names) -> None:
    """Both loops reach a twelfth, and lose little; the state of training goes with success."""
    score = names["score"]
    original = score(names["model"]())
    for name in ("build", "fit"):
        path = folder / f"{name}.taut.safetensors"
        told = taut.info(path)
        assert path.stat().st_size == told.size <= told.original_size / 12
        assert score(taut.load(path, into=names["model"]())) > original - 0.1 > 0.7
    first = taut.load(folder / names["first"].path, into=names["model"]())
    assert score(first) == pytest.approx(names["first"].score)
    assert [path.name for path in folder.glob("*.npz")] == []


def _judged(folder: Path, names: Names) -> None:
    """Intervals hold their metric, pairs count what the metric lost, and layers are named."""
    judged = names["judged"]
    (pair, *_), metric = judged.paired, judged.model.scores.metrics[0]
    assert metric.low <= metric.value <= metric.high
    assert metric.value == pytest.approx(1 + pair.difference)
    assert (pair.gained, pair.lost) == (0, round(500 * (1 - metric.value)))
    assert [layer.name for layer in judged.fidelity.layers] == ["0", "2"]


PROMISES: Final[dict[str, Callable[[Path, Names], None]]] = {
    "docs/calibration.md": _calibrated,
    "docs/training.md": _trained,
    "docs/evaluation.md": _judged,
}
