"""Where a batch may be cut: samples told from time steps, states and what all samples share."""

from collections import namedtuple
from collections.abc import Callable

import pytest

from taut.networks.cuts import find_cut, tensors
from taut.networks.portions import hold

torch = pytest.importorskip("torch")
nn = torch.nn
Pair = namedtuple("Pair", ["x", "h"])


class _Net(nn.Module):
    def __init__(self, function: Callable[..., object], *layers: "torch.nn.Module") -> None:
        super().__init__()
        self.layers, self.function = nn.ModuleList(layers), function

    def forward(self, *parts: object) -> object:
        return self.function(*self.layers, *parts)


def _rnn(first: bool, kind: "type[torch.nn.Module]" = nn.LSTM) -> "torch.nn.Module":
    return _Net(lambda r, *given: r(*given)[0], kind(4, 4, batch_first=first))


X = torch.randn(6, 5, 4, generator=torch.Generator().manual_seed(0))
SQUARE = torch.randn(6, 6, 4, generator=torch.Generator().manual_seed(1))
H = torch.zeros(1, 6, 4)
LONG = H[:, :1].expand(1, 5, 4)
TABLE = torch.ones(4, 4)


@pytest.mark.parametrize(
    ("net", "batch", "axes"),
    [
        (nn.Linear(4, 4), X, [0]),
        (_rnn(True), X, [0]),
        (_rnn(False), X, [1]),  # time first: 6 steps of 5 samples
        (_rnn(True), (X, (H, H)), [0, 1, 1]),
        (_rnn(False), (X, (LONG, LONG)), [1, 1, 1]),
        (_rnn(True, nn.GRU), [X, H], [0, 1]),
        (_rnn(True, nn.GRU), Pair(X, H), [0, 1]),
        (_rnn(False), SQUARE, [1]),  # as many steps as samples
        (_rnn(True), SQUARE, [0]),
        (_Net(lambda x, t: x @ t), (X, TABLE), [0, None]),  # all samples share the table
        (_Net(lambda x, t: x @ t.to_dense()), (X, TABLE.to_sparse()), [0, None]),
        (_Net(lambda x: {"logits": x["x"], "loss": x["x"].sum()}), ({"x": X},), [0]),
        (_Net(lambda x, n: x * n), (X, 2), [0]),
        (_Net(lambda x: x - x.mean((0, 1))), X, None),  # samples see one another
        (_Net(lambda x: x.sum()), X, None),
        (_Net(lambda x: x[0].data if isinstance(x, list) else x.data), X[:1, :1], None),
        (_rnn(False, nn.GRU), nn.utils.rnn.pack_sequence([X[0], X[1]]), None),
        (_Net(lambda x, o: x), (X, object()), None),
    ],
)  # fmt: skip
def test_only_the_axis_of_samples_is_cut(
    net: "torch.nn.Module", batch: object, axes: "list[int | None] | None"
) -> None:
    if axes is None:
        assert find_cut(batch, net) is None
        assert hold([batch], net)[0] == [batch]
        return
    cut = find_cut(batch, net)
    assert cut is not None and list(cut.axes) == axes
    pieces, _ = hold([batch], net)
    assert len(pieces) == cut.count
    for number, axis in enumerate(axes):
        parts = [tensors(piece)[number] for piece in pieces]
        whole = tensors(batch)[number]
        assert all(p is whole for p in parts) if axis is None else True
        assert axis is None or torch.equal(torch.cat(parts, axis), whole)


def test_trying_leaves_the_network_and_chance_as_they_were() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.BatchNorm1d(4))
    before, state = {n: t.clone() for n, t in net.state_dict().items()}, torch.get_rng_state()
    assert find_cut(X[:, 0], net) is not None
    assert net.training and torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(t, before[n]) for n, t in net.state_dict().items())
