"""A size that no file of the model has is refused before anything is judged or trained."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import taut
from taut.errors import TargetError

torch = pytest.importorskip("torch")

CANNOT = r"cannot be met: with every matrix zero the file still has ([\d,]+) bytes"
ASKED: tuple[dict[str, Any], ...] = (
    {"size": "1kB"},
    {"bits": 0.001},
    {"ratio": 1000},
    {"size": "0.1%"},
)


def network() -> Any:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 96), torch.nn.Linear(96, 10)
    )


def batches() -> list[Any]:
    return list(torch.randn(64, 64).split(16))


def judged(model: object) -> float:
    raise AssertionError("it was judged before it was refused")


def refused(given: dict[str, Any], stages: set[str]) -> int:
    """The least size that the refusal names; nothing else was worked on."""
    seen: set[str] = set()
    with pytest.raises(TargetError, match=CANNOT) as caught:
        taut.compress(network(), progress=lambda stage, *_: seen.add(stage), **given)
    assert seen <= stages, seen
    found = re.search(CANNOT, str(caught.value))
    assert found is not None
    return int(found[1].replace(",", ""))


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_the_least_size_is_told_with_data_and_without(
    tmp_path: Path, asked: dict[str, Any]
) -> None:
    out, data = {"dst": tmp_path / "small"}, {"calib": batches()}
    plain = refused({**asked, **out}, {"search"})
    assert refused({**asked, **out, **data}, set()) == plain
    assert refused({**asked, **data, "dry_run": True}, set()) == plain
    assert refused({**asked, "dry_run": True}, {"search"}) == plain
    scored = {"score": judged, "max_drop": "1%"}
    assert refused({**asked, **out, **data, **scored}, set()) == plain
    assert list(tmp_path.iterdir()) == []


def test_what_is_told_is_what_such_a_file_has(tmp_path: Path) -> None:
    least = refused({"size": "1kB", "calib": batches(), "dst": tmp_path / "no"}, set())
    with torch.no_grad():
        net = network()
        for number in (0, 2):
            net[number].weight.zero_()
    plan = dict.fromkeys(("0.bias", "2.bias", "3.bias", "3.weight"), "fp16")
    size = taut.compress(net, tmp_path / "zero", plan=plan, effort="max").size
    assert size == pytest.approx(least, abs=32)  # zeros have no step


def test_a_training_that_cannot_get_there_judges_nothing(tmp_path: Path) -> None:
    data, targets = torch.randn(64, 64), torch.zeros(64, dtype=torch.long)
    seen: set[str] = set()
    with pytest.raises(
        TargetError, match=r"size: 5 bytes were asked for; training cannot get below"
    ):
        taut.compress(
            network(),
            tmp_path / "small",
            bits=0.001,
            train=[(data, targets)],
            score=judged,
            max_drop="1%",
            progress=lambda stage, *_: seen.add(stage),
        )
    assert seen <= {"open"}


def test_shards_and_what_they_take_beside_are_in_the_least_size(tmp_path: Path) -> None:
    module = tmp_path / "net.py"
    module.write_text(
        "import torch\n\n\ndef build():\n    torch.manual_seed(0)\n    return torch.nn.Sequential("
        "torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 64))\n"
    )
    asked = {"calib": [np.zeros((8, 64), np.float32)], "size": "500B"}
    told = []
    for more in ({}, {"shard_size": "40kB"}):
        with pytest.raises(TargetError, match=r"size of 500B \(500 bytes\) cannot") as caught:
            taut.compress(f"{module}:build", tmp_path / "small", **asked, **more)
        told.append(int(re.search(CANNOT, str(caught.value))[1].replace(",", "")))  # type: ignore[index]
    assert told[1] > told[0] + 500


def test_what_is_the_base_s_takes_no_more_than_its_name(tmp_path: Path) -> None:
    base = {name: one.numpy().copy() for name, one in network().state_dict().items()}
    save_file(base, tmp_path / "base.safetensors")
    net = network()
    with torch.no_grad():
        net[0].weight.add_(torch.randn(256, 64) * 1e-3)
    for more in ({}, {"calib": batches()}):
        with pytest.raises(TargetError, match=CANNOT):
            taut.compress(
                net, tmp_path / "no", base=tmp_path / "base.safetensors", size=300, **more
            )
