"""Networks in half precision: widened where that works, else as they are."""

from collections.abc import Callable

import pytest

from taut.errors import ArgumentError
from taut.networks import open_calibration, open_model
from taut.networks.precision import AS_IT_IS, in_single
from taut.scoring.user_score import judged, scored

torch = pytest.importorskip("torch")
nn = torch.nn


class _Inside(nn.Module):
    """Names its own type in its forward."""

    def __init__(self, dtype: "torch.dtype") -> None:
        super().__init__()
        self.dtype, self.a = dtype, nn.Linear(4, 3, dtype=dtype)
        self.register_buffer("scale", torch.ones(3, dtype=torch.float64))

    def forward(self, x: "torch.Tensor") -> "torch.Tensor":
        return self.a(x.to(self.dtype))


def _plain(dtype: "torch.dtype") -> "torch.nn.Module":
    return nn.Sequential(nn.Linear(4, 3, dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("build", "widened"), [(_plain, True), (_Inside, False)])
def test_a_network_is_widened_only_where_it_runs_so(
    build: "Callable[[torch.dtype], torch.nn.Module]", widened: bool, dtype: "torch.dtype"
) -> None:
    net = build(dtype)
    model = open_model(net)
    calibration = open_calibration([torch.ones(2, 4)], model)
    assert {p.dtype for p in model.module.parameters()} == {torch.float32 if widened else dtype}
    assert (AS_IT_IS in calibration.notes) is not widened
    single = in_single(net, lambda: [torch.ones(2, 4)])
    assert (single is not net) is widened
    assert {p.dtype for p in net.parameters()} == {dtype}
    assert all(b.dtype == torch.float64 for b in model.module.buffers())


@pytest.mark.parametrize("build", [_plain, _Inside])
def test_a_score_that_gives_half_precision_runs(
    build: "Callable[[torch.dtype], torch.nn.Module]",
) -> None:
    model = open_model(build(torch.float16))
    x = torch.ones(2, 4, dtype=torch.float16)
    assert scored(lambda module: 1 + abs(float(module(x).sum())), model.module) >= 1
    with pytest.raises(ArgumentError, match="score: failed: ZeroDivisionError"):
        judged(lambda module: 1 / 0, model.module)
