"""Calls of a network: what it does to its arguments is no matter of the caller's."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from taut import compress, load  # noqa: E402


class _Scales(nn.Module):
    """Halves what it is given, in place."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(32, 32)

    def forward(self, x: "torch.Tensor") -> "torch.Tensor":
        out: torch.Tensor = self.a(x.mul_(0.5))
        return out


class _Takes(_Scales):
    """Takes its input out of the dict that it is given."""

    def forward(self, scene: dict[str, "torch.Tensor"]) -> "torch.Tensor":
        return super().forward(scene.pop("x"))


@pytest.mark.parametrize("by", ["calib", "train"])
@pytest.mark.parametrize("kind", [_Scales, _Takes])
def test_batches_stay_as_they_are(kind: type[_Scales], by: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    net = kind()
    wrap = (lambda x: ({"x": x},)) if kind is _Takes else (lambda x: x)
    data = [torch.randn(16, 32, requires_grad=True) for _ in range(10)]
    kept = [one.detach().clone() for one in data]
    want = _Scales.forward(net, kept[0].clone())

    compress(net, tmp_path / "o", bits=8, **{by: [wrap(one.detach()) for one in data]})
    load(tmp_path / "o", into=net)

    assert all(torch.equal(one, was) for one, was in zip(data, kept, strict=True))
    assert (_Scales.forward(net, kept[0].clone()) - want).norm() < 0.2 * want.norm()


@pytest.mark.parametrize("by", ["calib", "train"])
def test_gradients_of_the_data_are_not_kept(by: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    data = [torch.randn(16, 32, requires_grad=True) for _ in range(4)]
    compress(nn.Sequential(nn.Linear(32, 32)), tmp_path / "o", bits=8, **{by: data})
    assert all(one.grad is None for one in data)
