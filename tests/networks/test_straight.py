"""Forwards that hide layers from gradients: checkpointed, compiled, under no_grad, detached."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import taut
from taut.analysis import collect
from taut.analysis.layer_inputs import collect_inputs

torch = pytest.importorskip("torch")
nn = torch.nn
X = torch.linspace(-1, 1, 64).reshape(8, 8).cos()


class _Net(nn.Module):
    def __init__(self, call: Callable[..., "torch.Tensor"] = lambda layer, x: layer(x)) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.call = nn.Linear(8, 8), nn.Linear(8, 8), call

    def forward(self, x: "torch.Tensor") -> "torch.Tensor":
        return self.call(self.b, self.call(self.a, x).tanh())


def _checkpointed(reentrant: bool) -> Callable[..., "torch.Tensor"]:
    from torch.utils.checkpoint import checkpoint

    return lambda layer, x: checkpoint(layer, x, use_reentrant=reentrant)  # type: ignore[no-any-return]


def _in_a_row(layer: "torch.nn.Module", x: "torch.Tensor") -> "torch.Tensor":
    from torch.utils.checkpoint import checkpoint_sequential

    return checkpoint_sequential([layer], 1, x, use_reentrant=False)  # type: ignore[no-any-return]


def _compiled(layer: "torch.nn.Module", x: "torch.Tensor") -> "torch.Tensor":
    return torch.compile(lambda y: layer(y), backend="eager")(x)  # type: ignore[no-any-return]


@torch.no_grad()
def _without(layer: "torch.nn.Module", x: "torch.Tensor") -> "torch.Tensor":
    return layer(x)  # type: ignore[no-any-return]


@contextmanager
def _off() -> Iterator[None]:
    before = torch.is_grad_enabled()
    torch.set_grad_enabled(False)
    try:
        yield
    finally:
        torch.set_grad_enabled(before)


def _by_hand(layer: "torch.nn.Module", x: "torch.Tensor") -> "torch.Tensor":
    with _off():
        return layer(x)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "call",
    [_checkpointed(True), _checkpointed(False), _in_a_row, _compiled, _without, _by_hand],
)
def test_what_hides_a_layer_changes_no_curvature(call: Callable[..., "torch.Tensor"]) -> None:
    from torch.utils import checkpoint

    before = dict(vars(checkpoint))
    net = _Net(call)
    plain, found = collect(_Net(), lambda: [X]), collect(net, lambda: [X])
    inputs = collect_inputs(net, ["b.weight"], [X])["b.weight"]
    for name, one in plain.items():
        np.testing.assert_array_equal(found[name].rows, one.rows)
        np.testing.assert_array_equal(found[name].columns, one.columns)
        assert (found[name].bias, found[name].notes) == (one.bias, one.notes)
    np.testing.assert_allclose(inputs.moment, plain["b.weight"].columns, rtol=1e-4, atol=1e-6)
    assert torch.is_grad_enabled() and dict(vars(checkpoint)) == before


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_checkpointed_network_is_calibrated_and_finished(reentrant: bool, tmp_path: Path) -> None:
    net = _Net(_checkpointed(reentrant))
    net.a, net.b = nn.Linear(8, 256), nn.Linear(256, 8)
    done = taut.compress(net, tmp_path / "o", bits=8, calib=[X] * 10)
    assert not [note for note in done.notes if "nothing tuned" in note]


def test_inference_mode_is_off_in_the_network_and_around_it(tmp_path: Path) -> None:
    """A backbone in inference mode, and a caller in it, as under no_grad."""

    def still(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return layer(x)  # type: ignore[no-any-return]

    net, plain = _Net(still), _Net(lambda layer, x: layer(x))
    net.load_state_dict(plain.state_dict())
    want = collect(plain, lambda: [X])
    found = collect(net, lambda: [X])
    np.testing.assert_array_equal(found["a.weight"].columns, want["a.weight"].columns)
    with torch.inference_mode():
        made = [torch.randn(4, 8) for _ in range(4)]
        assert taut.analyze(net, made).tensors
        assert torch.is_inference_mode_enabled()
        for by in ("calib", "train"):
            wide = nn.Sequential(nn.Linear(8, 128), nn.Linear(128, 8))
            taut.compress(wide, tmp_path / by, bits=9, **{by: made})  # type: ignore[arg-type]


def test_a_weight_whose_gradient_is_cut_off_is_told_from_an_idle_one() -> None:
    net = _Net(lambda layer, x: layer(x))
    net.call = lambda layer, x: layer(x).detach() if layer is net.a else layer(x)
    net.idle = nn.Linear(8, 8)
    found = collect(net, lambda: [X])
    assert found["idle.weight"].notes == ("the loss does not depend on it",)
    assert [note for note in found["a.weight"].notes if "no gradient comes back" in note]
    assert found["b.weight"].kind == "linear"
