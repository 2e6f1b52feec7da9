"""Recurrent layers written out give what torch's do, and each of their weights is followed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from taut.analysis import collect

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence  # noqa: E402
from torch.overrides import TorchFunctionMode  # noqa: E402

from taut.analysis._recurrent import written_out  # noqa: E402

OPTIONS = [
    {},
    {"batch_first": True, "num_layers": 2},
    {"bidirectional": True, "num_layers": 2},
    {"bias": False, "bidirectional": True},
]
LAYERS = [
    *itertools.product([nn.LSTM, nn.GRU, nn.RNN], OPTIONS),
    (nn.LSTM, {"proj_size": 3, "bidirectional": True}),
    (nn.LSTM, {"proj_size": 3, "bias": False}),
    (nn.RNN, {"nonlinearity": "relu"}),
]


class WrittenOut(TorchFunctionMode):
    """Within it recurrent calls are written out; counts them."""

    calls = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        inside = written_out(func)
        self.calls += inside is not None
        return (inside or func)(*args, **(kwargs or {}))


def tensors(found: object) -> list[Tensor]:
    if isinstance(found, Tensor):
        return [found]
    if isinstance(found, PackedSequence):
        return [found.data]
    return [tensor for part in found for tensor in tensors(part)]


def same(layer: nn.Module, *inputs: object) -> None:
    with torch.no_grad():
        expected = tensors(layer(*inputs))
        with WrittenOut() as mode:
            found = tensors(layer(*inputs))
    assert mode.calls == 1
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.filterwarnings("ignore::UserWarning")  # projections take a slower way
@pytest.mark.parametrize(("kind", "options"), LAYERS)
def test_a_layer_gives_the_same(kind, options) -> None:
    torch.manual_seed(0)
    layer, x = kind(5, 7, **options), torch.randn(6, 4, 5)
    first = options.get("batch_first", False)
    packed = pack_padded_sequence(x, [4, 3, 3, 2, 2, 1] if first else [6, 4, 2, 1], first)
    for inputs in (x, packed, x[:, 0]):
        same(layer, inputs)
    state = layer(x)[1]
    turned = tuple(s.tanh() for s in state) if isinstance(state, tuple) else state.tanh()
    same(layer, x, turned)


@pytest.mark.parametrize("kind", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_a_cell_gives_the_same(kind) -> None:
    torch.manual_seed(0)
    same(kind(5, 7), torch.randn(6, 5))


class Recurrent(nn.Module):
    def __init__(self, kind: str, **options: object) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = getattr(nn, kind)(3, 4, batch_first=True, **options)
        self.last = nn.LazyLinear(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.layer(x)[0])


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_recurrent_weights_have_the_moments_of_inputs_and_of_states(kind: str) -> None:
    model, x = Recurrent(kind), torch.randn(6, 5, 3)
    model(x)
    found = collect(model, lambda: [x] * 2)
    gates = len(model.layer.weight_ih_l0)
    ih, hh = found["layer.weight_ih_l0"], found["layer.weight_hh_l0"]
    np.testing.assert_allclose(ih.columns, torch.einsum("nti,ntj->ij", x, x) / 30, rtol=1e-4)
    states = model.layer(x)[0].detach()[:, :-1]  # that of the first step is zero
    moment = torch.einsum("nti,ntj->ij", states, states).numpy() / 30
    np.testing.assert_allclose(hh.columns, moment, rtol=1e-4)
    assert (ih.kind, hh.kind, ih.bias, hh.bias) == (
        "linear", "linear", "layer.bias_ih_l0", "layer.bias_hh_l0",
    )  # fmt: skip
    assert (ih.rows.shape, ih.positions, hh.positions) == ((gates, gates), 60, 60)
    assert ih.stage < hh.stage < found["last.weight"].stage


def test_every_layer_direction_and_projection_is_followed() -> None:
    model = Recurrent("LSTM", num_layers=2, bidirectional=True, proj_size=2)
    x = torch.randn(6, 5, 3)
    model(x)
    found = collect(model, lambda: [x])
    assert {one.kind for one in found.values()} == {"linear"} and len(found) == 13
