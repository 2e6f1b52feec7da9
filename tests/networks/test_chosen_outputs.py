"""Which outputs count, and how much: by name, by number, and from the first call on."""

from pathlib import Path
from typing import Any

import pytest

import taut
from taut.analysis.curvature import collect
from taut.errors import ArgumentError
from taut.networks.chosen_outputs import OutputShares
from taut.networks.output_roles import output_roles

torch = pytest.importorskip("torch")
nn = torch.nn
X = [*torch.randn(8, 32, 64, generator=torch.Generator().manual_seed(0))]


class TwoNamed(nn.Module):  # type: ignore[misc, name-defined]
    """A policy, a value and what the network itself counts, which no matrix leads to."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.trunk, self.p, self.v = nn.Linear(64, 64), nn.Linear(64, 48), nn.Linear(64, 48)
        self.steps = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        h = self.trunk(x).relu()
        told = self.steps * torch.ones(len(x), 1)
        return {"policy": self.p(h), "value": 100 * self.v(h) + 500, "told": told}


@pytest.mark.parametrize(
    ("said", "named", "rest"),
    [
        ({"policy": 1, "value": 0}, {"policy": 1, "value": 0}, 1),
        (["policy"], {"policy": 1}, 0),
        (1, {"1": 1}, 0),
        ("policy", {"policy": 1}, 0),
        ("policy=2, value = .5", {"policy": 2, "value": 0.5}, 1),
        ("a.b,c=.5", {"a.b": 1, "c": 0.5}, 0),
    ],
)
def test_shares_are_read(said: Any, named: dict[str, float], rest: float) -> None:
    assert OutputShares.said(said) == OutputShares(named, rest)


@pytest.mark.parametrize("said", [{"a": -1}, {"a": "x"}, "a=nan", {"a": float("inf")}, [], {}])
def test_what_is_no_share_is_refused(said: Any, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"outputs \(--outputs\)"):
        taut.compress(TwoNamed(), tmp_path / "x", bits=4, calib=X, outputs=said)


def test_a_name_and_a_number_mean_an_output() -> None:
    places = ["policy", "heads.1"]
    assert OutputShares({"1": 0.5}).of(places) == {"policy": 1, "heads.1": 0.5}
    assert OutputShares({"policy": 1}, 0).of(places) == {"policy": 1, "heads.1": 0}
    with pytest.raises(ArgumentError, match=r"nearest: policy; it has policy, heads\.1"):
        OutputShares({"polcy": 1}).of(places)
    with pytest.raises(ArgumentError, match="no output is left that counts"):
        OutputShares({"policy": 0, "1": 0}).of(places)


@pytest.mark.parametrize("frozen", [False, True])
def test_roles_have_shares_and_frozen_networks_all_their_outputs(frozen: bool) -> None:
    net = TwoNamed().requires_grad_(not frozen)
    assert [*output_roles(net, X)] == ["policy", "value", "told"]
    roles = output_roles(net, X, shares=OutputShares({"value": 0.1, "policy": 0}))
    assert [(place, one.share) for place, one in roles.items()] == [
        ("value", 0.1),
        ("told", 1),
        ("policy", 0),
    ]
    assert net.p.weight.requires_grad is not frozen


def test_curvature_goes_by_the_shares() -> None:
    net = TwoNamed()
    kinds = {"policy": "features", "value": "features"}
    price: dict[float, float] = {}
    for share in (1.0, 0.1, 0.0):
        given = {"policy": 1.0, "value": share} if share else {"policy": 1.0}
        found = collect(net, lambda: X, output=kinds, shares=given)  # type: ignore[arg-type]
        price[share] = found["v.weight"].rows.sum() / found["p.weight"].rows.sum()
    assert price[0.1] == pytest.approx(price[1.0] / 10, rel=1e-3)
    assert price[0.0] == 0


def test_what_does_not_count_is_lost_and_notes_say_what_each_loses(tmp_path: Path) -> None:
    lost = {}
    for outputs in (["policy"], ["value"], {"told": 0}):
        to, more = tmp_path / "o", {"outputs": outputs, "finish": False, "force": True}
        done = taut.compress(TwoNamed(), to, bits=4, calib=X, **more)
        with torch.no_grad():
            found = taut.load(tmp_path / "o", into=TwoNamed())(X[0])
            off = {name: found[name] - one for name, one in TwoNamed()(X[0]).items()}
        lost[str(outputs)] = [float(off["policy"].std()), float(off["value"].std()) / 100]
    assert lost["['policy']"][0] < 0.3 * lost["['value']"][0]
    assert lost["['value']"][1] < 0.3 * lost["['policy']"][1]
    told = [note for note in done.notes if note.startswith("on batches set aside the outputs lose")]
    assert len(told) == 1 and "policy" in told[0] and "value" in told[0]


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"outputs": ["told"]}, "told: no matrix that is rounded leads to it"),
        ({"outputs": ["policy", "told"]}, "told: no matrix that is rounded leads to it"),
        ({"outputs": {"told": 0.5}}, "told: no matrix that is rounded leads to it"),
        ({"output": "logits", "loss": lambda o, b: o}, "the loss says what counts"),
        ({"output": "logits,features"}, "says two things of one output"),
        ({"output": 5}, "neither a word nor words for places"),
        ({"outputs": {"policy": 0, "value": 0, "told": 0}}, "no output is left"),
        ({"outputs": ["polcy"]}, "nearest: policy"),
        ({"outputs": ["policy"], "loss": lambda o, b: o}, "the loss says what counts"),
        ({"outputs": ["policy"], "calib": None}, "goes with calibration data"),
    ],
)
def test_what_cannot_count_is_refused(more: dict[str, Any], word: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=word):
        taut.compress(TwoNamed(), tmp_path / "x", **{"bits": 4, "calib": X, **more})
    assert not (tmp_path / "x").exists()
