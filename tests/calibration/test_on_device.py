"""A whole calibrated run on a device: nothing is left where it does not belong."""

from __future__ import annotations

from pathlib import Path

import pytest

import taut
from taut.errors import ArgumentError

torch = pytest.importorskip("torch")

from tests.calibration.test_one_pass import far, stack, words  # noqa: E402
from tests.pretend_device import PRETENDED, pretended  # noqa: E402

from taut.calibration import start  # noqa: E402
from taut.transform import affordable  # noqa: E402


def test_rounding_and_finishing_work_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "LARGE", 0)  # so that it is rounded block after block
    monkeypatch.setattr(affordable, "affordable_steps", lambda *_, **__: 2)
    net, batches = stack(2), words(6)
    taut.compress(net, tmp_path / "here", calib=batches, bits=4)
    done_there: dict[str, int] = {}
    with pretended() as places:

        def step(stage: str, done: int, total: int) -> None:
            before = sum(done_there.values())
            done_there[stage] = done_there.get(stage, 0) + places.worked - before

        taut.compress(
            net, tmp_path / "there", calib=batches, bits=4, device=str(PRETENDED), progress=step
        )
    for stage in ("curvature", "lambda", "sequence", "finish"):
        assert done_there[stage] > 0, stage
    assert all(one.device.type == "cpu" for one in net.parameters())
    lost = far(tmp_path / "there", net, batches)
    assert lost == pytest.approx(far(tmp_path / "here", net, batches), rel=0.05)


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_a_device_that_is_not_there_is_refused_before_work(tmp_path: Path, device: str) -> None:
    seen: list[str] = []
    with pytest.raises(ArgumentError, match=r"device \(--device\)"):
        taut.compress(
            stack(1),
            tmp_path / "x",
            calib=words(4),
            bits=4,
            device=device,
            progress=lambda stage, done, total: seen.append(stage),
        )
    assert not seen and not list(tmp_path.iterdir())
