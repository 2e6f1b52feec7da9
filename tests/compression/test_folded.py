"""Files of networks whose batch norms were folded: the same class, names and shapes."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

import taut  # noqa: E402


def network() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 32, 3, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, groups=32, bias=False),
        nn.BatchNorm2d(32),
        nn.Conv2d(32, 64, 1),
        nn.BatchNorm2d(64),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(256, 10),
    )
    for norm in (net[1], net[4], net[6]):
        norm.running_var.uniform_(0.01, 4)
        norm.running_mean.normal_()
        nn.init.uniform_(norm.weight, 0.2, 2)
    return net.eval()


def images() -> list[Tensor]:
    return [*torch.randn(8, 8, 3, 6, 6, generator=torch.Generator().manual_seed(3))]


def error(net: nn.Module, path: Path) -> float:
    other = copy.deepcopy(net)
    taut.load(path, into=other)
    x = torch.cat(images())
    with torch.no_grad():
        return float((other(x) - net(x)).square().mean() / net(x).square().mean())


@pytest.mark.parametrize("calib", [None, images()], ids=["data-free", "calibrated"])
def test_norms_are_identities_in_the_file_and_names_and_shapes_its_own(
    tmp_path: Path, calib: list[Tensor] | None
) -> None:
    net, path = network(), tmp_path / "x.taut.safetensors"
    state = {name: one.clone() for name, one in net.state_dict().items()}
    result = taut.compress(net, path, bits=6, calib=calib, finish=False if calib else None)
    loaded = taut.load(path)
    assert {n: v.shape for n, v in loaded.items()} == {n: tuple(v.shape) for n, v in state.items()}
    assert all(torch.equal(one, state[name]) for name, one in net.state_dict().items())
    for norm in ("1", "4", "6"):
        assert set(loaded[f"{norm}.weight"].tolist()) == {1.0}
        assert set(loaded[f"{norm}.running_var"].tolist()) == {1.0}
        assert not loaded[f"{norm}.running_mean"].any()
    assert not loaded["5.bias"].any()
    assert error(net, path) < 0.02
    assert any("3 batch norms folded" in note for note in result.notes)


def test_finishing_leaves_the_constants(tmp_path: Path) -> None:
    net, path = network(), tmp_path / "x.taut.safetensors"
    taut.compress(net, path, bits=5, calib=images())
    loaded = taut.load(path)
    assert set(loaded["4.weight"].tolist()) == {1.0} and not loaded["5.bias"].any()


def test_nothing_is_folded_where_that_is_not_wanted(tmp_path: Path) -> None:
    net, path = network(), tmp_path / "x.taut.safetensors"
    taut.compress(net, path, bits=6, fold=False)
    assert len(set(taut.load(path)["1.weight"].tolist())) > 8
    taut.compress(net, path, bits=8, plan={"0.weight": "lossless"}, force=True)
    assert torch.equal(torch.from_numpy(taut.load(path)["0.weight"]), net[0].weight)


def test_a_mean_error_goes_into_the_bias_of_the_norm(tmp_path: Path) -> None:
    net, path = network(), tmp_path / "x.taut.safetensors"
    taut.compress(net, path, bits=5, calib=images(), finish=False)
    one = copy.deepcopy(net)
    taut.load(path, into=one)
    with torch.no_grad():
        off = one[:7](torch.cat(images())) - net[:7](torch.cat(images()))
    assert float(off.mean((0, 2, 3)).square().mean()) < 0.1 * float(off.square().mean())


def test_without_data_an_input_that_is_not_guessed_is_told(tmp_path: Path) -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def forward(self, x: Tensor, scale: Tensor) -> Tensor:
            return self.net(x) * scale

    result = taut.compress(Odd(), tmp_path / "x.taut.safetensors", bits=6)
    assert any("no input is known" in note for note in result.notes)
