"""The caller's model is left as it was, and what is wrong is said with the place where it is."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable

import pytest

from taut.analysis import collect
from taut.errors import ArgumentError

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402


class Fragile(nn.Module):
    """Raises when it is given a negative number."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(10, 4, max_norm=0.1)
        self.drop, self.norm, self.last = nn.Dropout(0.5), nn.BatchNorm1d(4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        if (x < 0).any():
            raise ValueError("negative")
        return self.last(self.norm(self.drop(self.table(x).mean(1))))


@pytest.mark.parametrize("fails", [False, True])
def test_everything_is_put_back(fails: bool) -> None:
    model = Fragile().train()
    model.norm.eval()
    model.last.weight.requires_grad_(False)
    model.last.bias.grad = kept = torch.ones(2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    data = [torch.randint(0, 10, (6, 3)), torch.full((2, 3), -1 if fails else 1)]
    noise = torch.get_rng_state(), random.getstate()
    with torch.no_grad():  # whatever mode the caller is in
        if fails:
            with pytest.raises(ArgumentError, match="batch 2: the model rejects it: ValueError"):
                collect(model, lambda: data)
        else:
            assert collect(model, lambda: data)["last.weight"].kind == "linear"
        assert not torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), noise[0]) and random.getstate() == noise[1]
    assert [part.training for part in model.modules()] == [True, True, True, False, True]
    assert not model.last.weight.requires_grad and model.table.weight.requires_grad
    assert model.last.bias.grad is kept and model.table.weight.grad is None
    assert torch.equal(kept, torch.ones(2))
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    for part in model.modules():
        assert not part._forward_hooks and not part._backward_hooks


def linear() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 2))


class Rooted(nn.Linear):
    """Has no slope at zero."""

    def forward(self, x: Tensor) -> Tensor:
        return (super().forward(x) - self.bias).square().sqrt()


def poisoned(bad: float) -> list[Tensor]:
    x = torch.ones(4, 3)
    x[1, 2] = bad
    return [torch.ones(4, 3), x]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: collect(linear(), lambda: []), "there are no samples"),
        (lambda: collect(linear(), lambda: [torch.zeros(0, 3)]), "there are no samples"),
        (lambda: collect(linear(), lambda: poisoned(float("nan"))),
         r"batch 2: .* output has NaN .*\(first in the input of 0.weight\)"),
        (lambda: collect(nn.Linear(3, 2), lambda: poisoned(1e25)),
         "weight, batch 2: the input: NaN, infinite or too large"),
        (lambda: collect(Rooted(3, 2), lambda: [torch.zeros(1, 3)]),
         "weight, batch 1: the gradient: NaN"),
        (lambda: collect(linear(), list, names=["0.wieght"]), 'nearest: 0.weight'),
        (lambda: collect(linear(), list, output="both"), "auto, logits, probabilities, features"),
        (lambda: collect(linear(), list, projections=0), "at least 1"),
        (lambda: collect(nn.LazyLinear(2), lambda: poisoned(1)), "not initialised"),
        (lambda: collect(linear(), lambda: poisoned(1), loss=lambda o, b: 1 / 0), "loss raised"),
        (lambda: collect(linear(), lambda: poisoned(1), loss=lambda o, b: 1.0), "loss must give"),
        (lambda: collect(linear(), lambda: poisoned(1), loss=lambda o, b: o.sum() / 0),
         "batch 1: the loss is NaN"),
    ],
)  # fmt: skip
def test_errors_say_what_where_and_what_to_do(call: Callable[[], object], said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        call()


def test_without_torch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    model = linear()
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ArgumentError, match=r"pip install 'taut\[torch\]'"):
        collect(model, list)


def test_progress_counts_batches() -> None:
    seen: list[tuple[str, int, int]] = []
    collect(linear(), lambda: poisoned(1), progress=lambda *step: seen.append(step))
    assert seen == [("curvature", 1, 2), ("curvature", 2, 2)]
