"""Batches as training sets give them: with targets, in classes of their own, without an end."""

from collections import namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import taut
from taut.errors import ArgumentError
from taut.networks import Calibration, open_calibration, open_model

torch = pytest.importorskip("torch")
nn = torch.nn
X = torch.linspace(-1, 1, 12).reshape(4, 3)
Y = torch.arange(4)
Pair = namedtuple("Pair", ["x", "y"])


class _Net(nn.Module):
    def __init__(self, function: Callable[..., object]) -> None:
        super().__init__()
        self.layer, self.function = nn.Linear(3, 2), function

    def forward(self, *parts: object, **named: object) -> object:
        return self.layer(self.function(*parts, **named))


class _Named(nn.Linear):
    def forward(self, image: "torch.Tensor", size: int = 0) -> "torch.Tensor":
        return super().forward(image)


@dataclass
class _Scene:
    x: "torch.Tensor"
    y: "torch.Tensor"


def _opened(function: "Callable[..., object] | torch.nn.Module", batches: object) -> Calibration:
    net = function if isinstance(function, nn.Module) else _Net(function)
    return open_calibration(batches, open_model(net))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("takes", "batch", "given", "left_out"),
    [
        (lambda x: x, (X, Y), X, "the network takes 1: the target is left out"),
        (lambda x: x, [X, Y], X, "the target is left out"),
        (lambda x, m: x * m, ((X, X), Y), (X, X), "the target is left out"),
        (lambda x, m: x * m, (X, X, Y), (X, X), "3 parts and the network takes 2"),
        (lambda x: x, (X, Y, Y), X, "the last 2 parts are left out"),
        (lambda x: x, ({"x": X}, {"boxes": Y}), {"x": X}, "the target is left out"),
        (lambda x: x, Pair(X, Y), X, "the target is left out"),
        (lambda pair: pair.x, Pair(X, Y), (Pair(X, Y),), "one argument"),
        (_Named(3, 2), {"image": X, "label": Y}, {"image": X}, '"label" of each batch'),
        (lambda x, m: x * m, (X, X), (X, X), ""),
        (lambda x, m=1: x * m, (X, X), (X, X), ""),
        (lambda scene: scene.x, _Scene(X, Y), None, ""),
    ],
)
def test_what_a_network_does_not_take_is_left_out(
    takes: "Callable[..., object] | torch.nn.Module", batch: object, given: object, left_out: str
) -> None:
    found = _opened(takes, [batch, batch])
    assert len(found) == 2
    for one in found:
        assert repr(one) == repr(batch if given is None else given)
    assert bool(found.notes) is bool(left_out)
    assert left_out in "".join(found.notes)


def test_a_wrong_batch_stays_an_error() -> None:
    with pytest.raises(ArgumentError, match=r"batch 1: the model rejects it.*\[4, 3\].*\[4\]"):
        _opened(lambda x: x[:, :2], [(X, Y)])


class _Stream(torch.utils.data.IterableDataset):  # type: ignore[type-arg]
    def __iter__(self) -> Iterator[object]:
        return iter([(x, 1) for x in X])


def test_data_without_a_length(monkeypatch: pytest.MonkeyPatch) -> None:
    found = _opened(lambda x: x, torch.utils.data.DataLoader(_Stream(), batch_size=3))
    assert (len(found), found.samples) == (2, 4)
    assert len(_opened(lambda x: x, (X for _ in range(3)))) == 3
    monkeypatch.setattr("taut.networks.given_batches.MOST", 5)
    monkeypatch.setattr("taut.networks.calibration.MOST", 5)

    def endless() -> Iterator[object]:
        while True:
            yield X

    for spec in (endless(), endless):
        found = _opened(lambda x: x, spec)
        assert len(list(found)) == len(found) == 5
        assert found.notes == ("calib: the first 5 batches are used; it has more",)
    assert len(_opened(lambda x: x, [X] * 6)) == 6  # a list says how many it has


def test_empty_batches_are_passed_over() -> None:
    found = _opened(lambda x: x, [X[:0], X, (), {}, X[:0]])
    assert len(list(found)) == len(found) == 1
    with pytest.raises(ArgumentError, match="no batches with samples"):
        _opened(lambda x: x, [X[:0]])


def test_data_that_fails_midway_tells_where() -> None:
    class Set(torch.utils.data.Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> object:
            return {0: X[0]}[index]

    with pytest.raises(ArgumentError, match=r"calib: failed in line \d+.* at batch 2: KeyError: 1"):
        _opened(lambda x: x, torch.utils.data.DataLoader(Set()))
    with pytest.raises(ArgumentError, match=r"a Set is a set of samples; give batches"):
        _opened(lambda x: x, Set())


class _Slots:
    __slots__ = ("x", "y")

    def __init__(self, x: object, y: object) -> None:
        self.x, self.y = x, y


def test_the_digest_tells_batches_of_every_kind_apart() -> None:
    kinds: list[object] = [
        X, X.to_sparse(), X.to_sparse_csr(), X.to(torch.complex64), X.to(torch.complex128),
        1j * X, _Slots(X, 1), _Slots(X, 2), _Scene(X, Y),
        nn.utils.rnn.pack_sequence([X, X[:2]]),
    ]  # fmt: skip
    digests = [_opened(lambda x: X, [kind]).digest for kind in kinds]
    assert digests.pop(2) == digests[1]  # the same values in the same places
    assert len({*digests}) == len(digests)


def test_a_loss_is_not_given_batches_without_their_targets(tmp_path: Path) -> None:
    x = torch.linspace(-1, 1, 64).reshape(2, 32)
    net, loss = nn.Linear(32, 32), lambda output, batch: (output - batch[1]).square().mean(1)
    doors: list[Callable[[object], object]] = [
        lambda data: taut.compress(net, tmp_path / "o", bits=8, calib=data, loss=loss),  # type: ignore[arg-type]
        lambda data: taut.analyze(net, data, loss=loss),  # type: ignore[arg-type]
        lambda data: taut.frontier(net, bits=[8], calib=data, loss=loss),  # type: ignore[arg-type]
    ]
    for door in doors:
        with pytest.raises(ArgumentError, match="loss: calib has parts that the network does not"):
            door([(x, x)] * 2)
    doors[1]([x, x])
