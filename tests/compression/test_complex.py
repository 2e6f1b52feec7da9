"""Complex parameters are rounded as pairs of reals, and come back as complex numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import taut
from taut.analysis.curvature import collect
from taut.container import TautFile
from taut.exporting.check import Comparison

torch = pytest.importorskip("torch")
nn = torch.nn
X = [*torch.randn(6, 32, 64, generator=torch.Generator().manual_seed(0))]


class Spectral(nn.Module):  # type: ignore[misc, name-defined]
    """A layer in the frequency domain, as of Fourier neural operators, between two real ones."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(64, 64), nn.Linear(64, 8)
        self.w = nn.Parameter(torch.randn(33, 48, dtype=torch.complex64) / 6)
        self.b = nn.Parameter(torch.randn(48, dtype=torch.complex64))

    def forward(self, x: torch.Tensor) -> Any:
        modes = torch.fft.rfft(self.up(x).relu()) @ self.w + self.b
        return self.down(torch.fft.irfft(modes, n=64))


def _net() -> Spectral:
    torch.manual_seed(0)
    return Spectral()


def _off(found: Any, want: Any) -> float:
    return float(((found - want).norm() / want.norm()).detach())


@pytest.mark.parametrize(
    ("asked", "near"),
    [({"bits": 8}, 0.02), ({"bits": 5, "calib": X}, 0.1), ({"plan": {"w": "int8"}}, 0.02),
     ({"plan": {"w": "fp16", "b": "fp16"}}, 0.001), ({"plan": {"w": "rd:4"}}, 0.2)],
)  # fmt: skip
def test_complex_matrices_are_rounded_and_stay_complex(
    asked: dict[str, Any], near: float, tmp_path: Path
) -> None:
    net, out = _net(), tmp_path / "o"
    done = taut.compress(net, out, **asked)
    assert "w, b: complex numbers, taken as pairs of reals" in done.notes
    infos = {info.name: info for info in TautFile(out).infos}
    assert (infos["w"].dtype, infos["w"].shape) == ("C64", (33, 48))
    assert (infos["b"].dtype, infos["b"].shape) == ("C64", (48,))
    found = taut.load(out)
    assert found["w"].dtype == np.complex64
    want = net.w.detach().numpy()
    assert 0 < np.linalg.norm(found["w"] - want) / np.linalg.norm(want) < max(near, 0.15)
    assert _off(taut.load(out, into=_net())(X[0]), net(X[0])) < near
    assert taut.verify(out)
    every = TautFile(out).load_all()
    assert all(np.array_equal(every[name], found[name]) for name in found)


def test_a_bit_exact_file_of_complex_numbers_is_as_it_was(tmp_path: Path) -> None:
    net = _net()
    taut.compress(net, tmp_path / "o")
    found = taut.load(tmp_path / "o")
    assert all(np.array_equal(found[n], t.numpy()) for n, t in net.state_dict().items())
    index = {one.name: one for one in TautFile(tmp_path / "o").contents.records.values()}
    assert index["w"].stored == ""


def test_a_complex_scalar_and_vectors_keep_their_bits(tmp_path: Path) -> None:
    state = {
        "w": np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32),
        "one": np.array(1 + 2j, np.complex64),
        "none": np.zeros((0, 3), np.complex64),
        "same": np.ones((4, 2), np.complex64),
        "pairs": np.array([[1.0, 0.0] * 2] * 4, np.float32),  # of the same bytes, and no complex
    }
    taut.compress(state, tmp_path / "o", plan={"w": "int8"})
    found = taut.load(tmp_path / "o")
    for name in ("one", "none", "same", "pairs"):
        assert found[name].dtype == state[name].dtype
        assert found[name].shape == state[name].shape
        assert np.array_equal(found[name], state[name])


def test_curvature_is_that_of_real_and_imaginary_parts() -> None:
    """A layer that multiplies two known numbers: of x real, y = w x has |x|^2 on both parts."""
    layer = nn.Module()
    layer.w = nn.Parameter(torch.zeros(1, 2, dtype=torch.complex64))
    layer.forward = lambda x: torch.view_as_real((layer.w * x).resolve_conj())
    x = torch.tensor([[1.0, 3.0]] * 64)
    found = collect(layer, lambda: [one[None] for one in x], projections=8)["w"]
    assert found.kind == "gradient"
    assert found.columns.shape in ((4,), (4, 4))
    diagonal = found.columns if found.columns.ndim == 1 else np.diag(found.columns)
    assert diagonal[2:].sum() / diagonal[:2].sum() == pytest.approx(9, rel=0.2)
    assert diagonal[0] / diagonal[1] == pytest.approx(1, rel=0.3)


def test_a_plan_counts_each_part(tmp_path: Path) -> None:
    net = _net()
    shown = {facts.name: facts for facts in taut.analyze(net).stored}
    assert shown["w"].shape == (33, 96)
    plan = taut.plan(net, bits=6)
    done = taut.compress(net, tmp_path / "o", plan=plan)
    assert done.size < 1.15 * 6 / 8 * (33 * 96 + 64 * 64 + 64 + 8 * 64 + 8 + 96)


def test_a_sweep_rounds_complex_matrices_too() -> None:
    w = np.random.default_rng(0).standard_normal((64, 64, 2)).astype("f4").view("c8")[..., 0]
    found = taut.frontier({"w": w}, bits=[3, 6], schemes=["int8"])
    assert [point.name for point in found.points] == ["3 bits", "6 bits", "int8"]
    values = [point.metrics[0].value for point in found.points]
    assert 0.9 < values[0] < values[1] < values[2] < 1


def test_errors_of_imaginary_parts_count() -> None:
    compared = Comparison()
    compared.add("w", np.array([1 + 2j, 3], np.complex64), np.array([1 + 1j, 3], np.complex64))
    check = compared.check("nothing")
    assert (compared.rounded, check.max_error) == (["w"], 1.0)
    assert check.rel_mse == pytest.approx(1 / 14)
