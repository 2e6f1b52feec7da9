"""A report as data: what it sums up, and that JSON holds all of it."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError

import pytest

from taut.analysis.tensor_facts import Prediction, Report, TensorFacts


def facts(name: str, loss: float | None, tied: str = "") -> TensorFacts:
    return TensorFacts(
        name=name, dtype="F32", shape=(2, 3), parameters=6, bytes=24, share=0.5, module="Linear",
        tied=tied, equal="", lossless=20, distribution=None, bounds=(), sensitivity=None,
        predictions={"rd:3": Prediction(3.0, 0.01, loss), "fp16": Prediction(16.0, 0.0)},
    )  # fmt: skip


@pytest.fixture
def report() -> Report:
    tensors = (facts("a", 0.5), facts("b", 0.25), facts("c", 9.0, tied="a"), facts("d", None))
    return Report("net", 18, 72, 60, 1000, tensors)


def test_losses_add_up_once_for_tied_tensors(report: Report) -> None:
    assert report.loss("rd:3") == 0.75
    assert report.loss("fp16") == 0
    assert [one.name for one in report.stored] == ["a", "b", "d"]
    assert report.schemes == ("rd:3", "fp16")


def test_json_holds_everything(report: Report) -> None:
    tree = report.to_json()
    assert json.loads(json.dumps(tree)) == tree
    assert set(tree) == {
        *("model", "parameters", "bytes", "lossless", "memory", "tensors"),
        *("calibrated", "measured", "notes", "version"),
    }
    tensors = tree["tensors"]
    assert isinstance(tensors, list)
    assert tensors[0]["shape"] == [2, 3]
    assert tensors[0]["predictions"]["rd:3"] == {"bits": 3.0, "rel_mse": 0.01, "loss": 0.5}


def test_a_report_cannot_be_changed(report: Report) -> None:
    with pytest.raises(FrozenInstanceError):
        report.bytes = 1  # type: ignore[misc]
