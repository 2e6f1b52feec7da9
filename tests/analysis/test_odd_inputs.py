"""Inputs and uses of weights that are not dense, not real, or not the weight's own tensor."""

from collections.abc import Callable

import numpy as np
import pytest

from taut.analysis import collect
from taut.errors import ArgumentError

torch = pytest.importorskip("torch")
nn = torch.nn
F = nn.functional
X = torch.linspace(-1, 1, 48).reshape(6, 8).sin()
HOLES = X * (X > 0)
NEAR = (torch.arange(36).reshape(6, 6) % 3 == 0).float()


class _Net(nn.Module):
    def __init__(self, function: Callable[..., object]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.function = nn.Linear(8, 8), nn.Linear(8, 8), function

    def forward(self, *parts: object) -> object:
        return self.function(self, *parts)


def _same(found: _Net, plain: _Net, batch: object, dense: object) -> None:
    """The curvature of both, where what they compute is the same."""
    one, other = collect(found, lambda: [batch]), collect(plain, lambda: [dense])
    for name in ("a.weight", "b.weight"):
        assert one[name].kind == other[name].kind == "linear"
        np.testing.assert_allclose(one[name].rows, other[name].rows, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(one[name].columns, other[name].columns, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("layout", ["to_sparse", "to_sparse_csr"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_sparse_matrix_beside_the_inputs(layout: str) -> None:
    net = _Net(lambda s, x, near: near @ s.b(s.a(x).tanh()))
    _same(net, net, (X, getattr(NEAR, layout)()), (X, NEAR))


def test_sparse_inputs_of_a_weight_are_summed_as_a_whole() -> None:
    net = _Net(lambda s, x: s.b(torch.sparse.mm(x, s.a.weight.T).tanh()))
    found = collect(net, lambda: [HOLES.to_sparse()])
    assert (found["a.weight"].kind, found["b.weight"].kind) == ("gradient", "linear")


def test_sparse_gradients() -> None:
    net = nn.Sequential(nn.EmbeddingBag(10, 8, sparse=True), nn.Linear(8, 4))
    found = collect(net, lambda: [torch.tensor([[1, 2], [3, 3]])])
    assert found["0.weight"].kind == "gradient"
    assert np.flatnonzero(np.diagonal(found["0.weight"].rows)).tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    "weight",
    [
        lambda s: s.b.weight.data,
        lambda s: s.b.weight.detach(),
        lambda s: s.b.weight.T.detach().T,
        lambda s: s.b.weight.data.t().data.t(),
    ],
)
def test_a_weight_without_its_graph_is_followed(weight: "Callable[[_Net], torch.Tensor]") -> None:
    net = _Net(lambda s, x: F.linear(s.a(x).tanh(), weight(s), s.b.bias))
    _same(net, _Net(lambda s, x: s.b(s.a(x).tanh())), X, X)


def test_complex_outputs_are_pairs() -> None:
    pairs = _Net(lambda s, x: torch.stack([s.b(s.a(x)), s.a(x)], -1))
    _same(_Net(lambda s, x: torch.complex(s.b(s.a(x)), s.a(x))), pairs, X, X)


class _Breaks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: "torch.Tensor") -> "torch.Tensor":  # type: ignore[override]
        return x * 2

    @staticmethod
    def backward(ctx: object, given: "torch.Tensor") -> "torch.Tensor":  # type: ignore[override]
        raise ValueError("mine")


def _hooked(net: _Net, x: "torch.Tensor") -> "torch.Tensor":
    out = net.a(x)
    if out.requires_grad:
        out.register_hook(lambda gradient: [][0])
    return net.b(out)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("function", "told"),
    [(lambda s, x: _Breaks.apply(s.b(x)), "ValueError: mine"), (_hooked, "IndexError: ")],  # type: ignore[no-untyped-call]
)
def test_a_backward_pass_that_fails_is_told(function: Callable[..., object], told: str) -> None:
    message = rf"batch 1: the model's backward pass failed: {told}.* in line \d+ of test_odd_inputs"
    with pytest.raises(ArgumentError, match=rf"{message}.*\(the batch is float32 \[6, 8\]\)"):
        collect(_Net(function), lambda: [X])
