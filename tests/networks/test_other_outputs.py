"""Which outputs count beside the main one, and what it costs to lose each."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import taut
from taut.analysis.curvature import collect
from taut.errors import ArgumentError
from taut.networks.other_outputs import OutputCost, kept_outputs
from taut.networks.output_roles import other_kinds

torch = pytest.importorskip("torch")
nn = torch.nn
X = [*torch.randn(6, 16, 64, generator=torch.Generator().manual_seed(0))]


@dataclass
class Found:
    boxes: Any
    classes: Any
    count: int = 1


class Heads(nn.Module):  # type: ignore[misc, name-defined]
    """A trunk with two heads, in whatever `into` makes of them; the second's sizes are `scale`."""

    def __init__(self, into: Any, scale: float = 1.0) -> None:
        super().__init__()
        self.trunk, self.box, self.fc = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 48)
        self.into, self.scale = into, scale

    def forward(self, x: torch.Tensor) -> Any:
        h = self.trunk(x).relu()
        return self.into(self.box(h), self.scale * self.fc(h))


WAYS = [lambda a, b: (a, b), lambda a, b: {"a": a, "more": [b]}, lambda a, b: Found(a, b)]


@pytest.mark.parametrize("into", WAYS)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_no_head_is_priced_to_nothing_whatever_its_size(into: Any, scale: float) -> None:
    torch.manual_seed(0)
    found = collect(Heads(into, scale), lambda: X)
    plain = collect(Heads(lambda a, b: (a, b)), lambda: X)
    price = {name: float(np.trace(one.rows)) * float(np.trace(one.columns))
             for name, one in found.items()}  # fmt: skip
    assert all(one.kind == "linear" for one in (*found.values(), *plain.values()))
    # Losing either head's output costs the same, so that a share of its weights costs as much.
    heads = {"box.weight": 1.0, "fc.weight": scale}
    net = Heads(into)
    shares = [price[n] * float(net.get_parameter(n).square().mean()) for n in heads]
    assert 0.5 < shares[0] / shares[1] < 2


def test_both_heads_are_kept_and_a_note_says_so(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Heads(WAYS[0], 1e-3)
    done = taut.compress(net, tmp_path / "o", bits=4, calib=X)
    assert any("2 outputs, each counts as much: 0: " in note for note in done.notes)
    found = taut.load(tmp_path / "o", into=Heads(WAYS[0], 1e-3))
    for have, want in zip(found(X[0]), net(X[0]), strict=True):
        assert float(((have - want).norm() / want.norm()).detach()) < 0.25


def test_each_output_is_told_by_itself() -> None:
    assert other_kinds(Heads(WAYS[0]), X[0]) == {"1": "features"}
    straight = nn.ModuleDict({"fc": nn.Linear(64, 5), "box": nn.Linear(64, 4)})
    straight.forward = lambda x: (straight["box"](x), straight["fc"](x).softmax(-1))
    assert other_kinds(straight, X[0]) == {"1": "probabilities"}
    assert other_kinds(nn.Sequential(nn.Linear(64, 4)), X[0]) == {}


def test_what_no_gradient_reaches_and_what_has_no_axes_does_not_count() -> None:
    z = torch.ones(2, 3, requires_grad=True)
    output = (2 * z, z.detach(), torch.ones(2), (z * 1j), z.sum(), torch.zeros(0, 3) * z[:0])
    found = kept_outputs(output, "auto", lambda _: None)
    assert [(one.place, tuple(one.tensor.shape)) for one in found] == [("0", (2, 3)),
                                                                      ("3", (2, 3, 2))]  # fmt: skip


def test_what_transformers_computes_its_output_from_does_not_count() -> None:
    modeling = pytest.importorskip("transformers.modeling_outputs")
    z = torch.ones(2, 4, 3, requires_grad=True)
    states = 2 * z
    output = modeling.Seq2SeqLMOutput(
        logits=states @ torch.ones(3, 5), encoder_last_hidden_state=states
    )
    assert [one.place for one in kept_outputs(output, "auto", lambda _: None)] == ["logits"]
    ends = modeling.QuestionAnsweringModelOutput(start_logits=z * 2, end_logits=z * 3)
    assert len(kept_outputs(ends, "auto", lambda _: None)) == 2
    plain = {"logits": states @ torch.ones(3, 5), "states": states}
    assert len(kept_outputs(plain, "auto", lambda _: None)) == 2


def test_what_it_costs_to_lose_an_output() -> None:
    z = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    assert cost("features", z).total == 13.0
    assert cost("features", z.repeat(8, 1)).mean == pytest.approx((1.5**2 + 1.5**2) / 2)
    assert cost("features", z.repeat(8, 1) + 100).mean == pytest.approx(2.25)
    sure = torch.tensor([[100.0, 0.0, -torch.inf, 0.0]])
    assert cost("logits", sure).mean == pytest.approx(np.log(4))
    assert cost("logits", 100 * torch.eye(4).repeat(4, 1)).mean == pytest.approx(np.log(4))
    assert 0 < cost("logits", sure.repeat(16, 1)).mean < 0.02  # of one class they tell nothing
    assert cost("logits", torch.tensor([[-9.0], [9.0]]).repeat(8, 1)).mean == pytest.approx(
        np.log(2), rel=1e-2
    )
    assert cost("features", z[:, :1], z).mean == pytest.approx((9 + 26) / 4 / 2)
    assert cost("features").mean == 0


def cost(kind: Any, *vectors: torch.Tensor) -> OutputCost:
    found = OutputCost(kind)
    for one in vectors:
        found.add(one)
    return found


def test_scores_that_a_mask_forbids_have_no_part() -> None:
    net = nn.ModuleDict({"a": nn.Linear(64, 8), "b": nn.Linear(64, 8)})
    forbid = torch.tensor([0.0] * 7 + [-torch.inf])
    net.forward = lambda x: (net["a"](x), net["b"](x) + forbid)
    found = collect(net, lambda: X)
    assert np.isfinite(found["b.weight"].rows).all()
    assert not found["b.weight"].rows[7].any()
    assert found["b.weight"].rows[:7, :7].any()


class Plain:
    def __init__(self, **parts: Any) -> None:
        vars(self).update(parts)


@pytest.mark.parametrize(
    ("into", "places"),
    [
        (lambda a, b: {"none": None, "a": a, "n": 3, "b": b}, ["a", "b"]),
        (lambda a, b: (3, a, "x", b, a), ["1", "3"]),
        (lambda a, b: Plain(a=a, b=b, n=3), ["a", "b"]),
        (lambda a, b: (a, b[:0], b.detach(), torch.ones(3)), ["0"]),
        (lambda a, b: {"loss": a.mean(), "b": b}, ["b"]),
        (lambda a, b: a.mean(), [""]),
    ],
)
def test_what_is_computed_counts_once_wherever_it_lies(into: Any, places: list[str]) -> None:
    kept = kept_outputs(Heads(into)(X[0]), "auto", lambda _: None)
    assert [one.place for one in kept] == places
    assert len(collect(Heads(into), lambda: X[:1])) >= 2


def test_a_constant_that_comes_first_hides_no_head() -> None:
    found = collect(Heads(lambda a, b: (torch.ones(len(a), 3), a, b)), lambda: X)
    assert all(np.trace(found[f"{name}.weight"].rows) > 0 for name in ("trunk", "box", "fc"))
    with pytest.raises(taut.errors.ArgumentError, match="batch 1: the model's output has no grad"):
        collect(Heads(lambda a, b: {"logits": a.detach(), "b": b}), lambda: X)


class Given(nn.Module):  # type: ignore[misc, name-defined]
    """Two heads in what `into` makes of them and of the input."""

    def __init__(self, into: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.trunk, self.box, self.fc = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 48)
        self.into = into

    def forward(self, x: torch.Tensor) -> Any:
        h = self.trunk(x).relu()
        return self.into(x, self.box(h), self.fc(h))


@pytest.mark.parametrize(
    "into",
    [
        lambda x, a, b: {"anchors": x, "a": a, "b": b},
        lambda x, a, b: {"a": a, "anchors": x, "b": b},
        lambda x, a, b: (x, a, b),
        lambda x, a, b: {"detached": a.detach(), "a": a, "b": b},
    ],
)
def test_what_no_weight_leads_to_does_not_count_wherever_it_stands(
    into: Any, tmp_path: Path
) -> None:
    found = taut.compress(Given(into), tmp_path / "o", bits=4, calib=X, finish=False)
    (told,) = [note for note in found.notes if note.startswith("calibration:")]
    assert "2 outputs, each counts as much" in told
    assert "no weight leads to" in told and told.endswith("which counts nothing")


@pytest.mark.parametrize("broken", [torch.nan, torch.inf])
@pytest.mark.parametrize("which", [0, 1])
def test_no_output_may_have_values_that_are_no_numbers(
    broken: float, which: int, tmp_path: Path
) -> None:
    def into(x: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> list[torch.Tensor]:
        found = [a, b]
        found[which] = found[which].masked_fill(x[:, :1] > 2, broken)
        return found

    with pytest.raises(ArgumentError, match=f"output {which} has NaN or infinite values"):
        taut.compress(Given(into), tmp_path / "o", bits=4, calib=X)


@pytest.mark.parametrize("scale", [1e-30, 1e25])
def test_what_an_output_loses_is_told_whatever_its_size(scale: float, tmp_path: Path) -> None:
    net = Given(lambda x, a, b: (a, scale * b))
    found = taut.compress(net, tmp_path / "o", bits=3, calib=X, finish=False)
    (told,) = [note for note in found.notes if note.startswith("on batches set aside the outputs")]
    lost = [float(one.split()[1]) for one in told.split(": ")[1].replace("%", "").split(",")]
    assert 0.1 < lost[1] / lost[0] < 10


def test_with_a_loss_no_note_says_what_outputs_count(tmp_path: Path) -> None:
    net = Given(lambda x, a, b: {"x": x, "a": a, "b": b})
    loss = lambda output, batch: output["a"].square().sum(1)  # noqa: E731
    found = taut.compress(net, tmp_path / "o", bits=4, calib=X, loss=loss, finish=False)
    assert not [note for note in found.notes if "output" in note and "gradient" not in note]
