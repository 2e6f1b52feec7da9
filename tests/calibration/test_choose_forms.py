"""Whether calibration data help is asked of batches set aside."""

from pathlib import Path

import numpy as np
import pytest

import taut

torch = pytest.importorskip("torch")
nn = torch.nn
TOLD = "rounded by scale alone: on batches set aside it saves"


def _net() -> "torch.nn.Module":
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 96)).eval()


def _batches(count: int, size: int, seed: int = 0) -> "list[torch.Tensor]":
    return [*torch.randn(count, size, 96, generator=torch.Generator().manual_seed(seed))]


def _error(path: Path) -> float:
    net, [x] = _net(), _batches(1, 256, seed=7)
    found = taut.load(path, into=_net())(x)
    return float(((found - net(x)).norm() / net(x).norm()).detach())


def test_data_that_say_too_little_are_left_aside_with_a_note(tmp_path: Path) -> None:
    done = taut.compress(_net(), tmp_path / "few", bits=3, calib=_batches(6, 8))
    assert any(TOLD in note for note in done.notes)
    taut.compress(_net(), tmp_path / "free", bits=3)
    assert _error(tmp_path / "few") < 1.02 * _error(tmp_path / "free")  # .233 with the data, .207


def test_data_that_say_enough_are_used(tmp_path: Path) -> None:
    mixing = torch.randn(96, 96, generator=torch.Generator().manual_seed(3))
    mixing *= torch.logspace(0, -2, 96)[:, None]  # inputs that hang together
    batches = [one @ mixing for one in _batches(8, 64)]
    done = taut.compress(_net(), tmp_path / "o", bits=3, calib=batches)
    assert not any(TOLD in note for note in done.notes)


def test_few_batches_of_inputs_that_hang_together_help_all_the_same(tmp_path: Path) -> None:
    mixing = torch.randn(96, 96, generator=torch.Generator().manual_seed(3))
    mixing *= torch.logspace(0, -3, 96)[:, None]
    batches = [one @ mixing for one in _batches(6, 16)]
    done = taut.compress(_net(), tmp_path / "o", bits=3, calib=batches)
    assert any("fewer positions than inputs" in note for note in done.notes)
    assert not any(TOLD in note for note in done.notes)
    assert np.isfinite(done.size)
