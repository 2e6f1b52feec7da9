"""The verb `plan`: rules that meet a target, and that the rest of Taut takes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import taut
from taut.errors import ArgumentError, TargetError
from taut.planning import Plan, dump_plan, load_plan
from taut.planning.plan import read_plan
from taut.verbs.plan import propose


@pytest.fixture
def model(rng: np.random.Generator) -> dict[str, np.ndarray]:
    tensors: dict[str, np.ndarray] = {"embed.weight": rng.standard_normal((200, 64))}
    for layer in range(3):
        tensors[f"h.{layer}.q.weight"] = rng.standard_normal((64, 64))
        tensors[f"h.{layer}.o.weight"] = 4 * rng.standard_normal((64, 64))
        tensors[f"h.{layer}.norm.weight"] = 1 + 0.1 * rng.standard_normal(64)
    tensors = {name: values.astype(np.float32) for name, values in tensors.items()}
    tensors["ids"] = np.arange(100)
    return tensors


def test_a_plan_says_what_was_asked_and_what_is_lost_where(model: dict[str, np.ndarray]) -> None:
    plan = taut.plan(taut.analyze(model), bits=3, max_drop="0.5%", effort="max", seed=7)
    assert dump_plan(plan) == (
        "taut: 1\n"
        "target: {bits: 3, max_drop: 0.5%}\n"
        "effort: max\n"
        "seed: 7\n"
        "rules:\n"
        "- {match: embed.weight, scheme: rd}\n"
        "- {match: h.*.q.weight, scheme: rd}\n"
        "- {match: h.*.o.weight, scheme: rd}\n"
        "- {match: '*.norm.weight', scheme: fp16}\n"
        "- {match: ids, scheme: lossless}\n"
    )


def test_a_model_is_analysed_on_the_way(model: dict[str, np.ndarray]) -> None:
    assert taut.plan(model, size="8x") == taut.plan(taut.analyze(model), size="8x")


def test_comments_tell_the_bits_and_change_nothing(
    model: dict[str, np.ndarray], tmp_path: Path
) -> None:
    proposal = propose(model, bits=3)
    lines = proposal.text().splitlines()
    assert lines[3].startswith("- {match: embed.weight, scheme: rd}  # 1 tensor, 12,800 values, ")
    bits = {line.split()[2]: float(line.split()[-2]) for line in lines[3:]}
    assert bits["h.*.o.weight,"] - bits["h.*.q.weight,"] == pytest.approx(1, abs=0.1)
    assert 10 < bits["'*.norm.weight',"] <= 16
    path = tmp_path / "plan.yaml"
    path.write_text(proposal.text())
    assert load_plan(path) == proposal.plan
    assert proposal.forecast is not None
    assert proposal.forecast.nbytes == pytest.approx(3 * proposal.report.parameters / 8, rel=0.01)


def test_names_with_line_breaks_keep_their_plan_whole() -> None:
    noise = np.random.default_rng(0).standard_normal((64, 64))
    proposal = propose({"a\nb": noise, "a\u0085- {c: d": 2 * noise, "c": np.ones(9)}, bits=4)
    assert read_plan(proposal.text()) == proposal.plan


def test_a_drop_alone_leaves_the_size_open(model: dict[str, np.ndarray]) -> None:
    proposal = propose(model, max_drop=0.01)
    assert proposal.forecast is None
    assert "3 tensors, 12,288 values\n" in proposal.text()


def test_a_target_that_asks_little_loses_nothing(model: dict[str, np.ndarray]) -> None:
    plan = taut.plan(model, size="100%")
    assert [(rule.match, str(rule.scheme)) for rule in plan.rules] == [("*", "lossless")]


def test_an_unreachable_target_is_told_with_the_nearest(model: dict[str, np.ndarray]) -> None:
    with pytest.raises(TargetError, match="still have about") as caught:
        taut.plan(model, size=100)
    assert isinstance(caught.value.best, int)
    assert caught.value.best > 100
    assert isinstance(taut.plan(model, size=2 * caught.value.best), Plan)


def test_what_means_nothing_is_refused_before_the_model_is_read() -> None:
    with pytest.raises(ArgumentError, match="give size, bits or max_drop"):
        taut.plan("no such model")
    with pytest.raises(ArgumentError, match="max_drop"):
        taut.plan("no such model", max_drop="little")
    with pytest.raises(ArgumentError, match="same thing"):
        taut.plan("no such model", size="8x", bits=3)
    with pytest.raises(ArgumentError, match="size"):
        taut.plan("no such model", size="8y")
    report = taut.analyze({"w": np.ones((64, 64))})
    with pytest.raises(ArgumentError, match="the report was made with its own"):
        taut.plan(report, [np.ones(3)], bits=2)


def test_the_same_model_gives_the_same_plan(model: dict[str, np.ndarray]) -> None:
    assert propose(model, bits=2).text() == propose(model, bits=2).text()


def test_what_is_foreseen_is_what_comes(tmp_path: Path) -> None:
    """The bits of each matrix under the one dial, calibrated, before anything was coded."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 128), torch.nn.ReLU(),
        torch.nn.Linear(128, 16),
    )  # fmt: skip
    batches = [torch.randn(32, 64) for _ in range(6)]
    proposal = propose(net, batches, bits=4, finish=False)
    assert proposal.forecast is not None
    path = tmp_path / "plan.yaml"
    path.write_text(proposal.text())
    found = taut.compress(net, tmp_path / "net.safetensors", plan=path, calib=batches)
    assert found.size == pytest.approx(proposal.forecast.nbytes, rel=0.015)
    matrices = [one for one in found.tensors if one.scheme == "rd"]
    assert len(matrices) == 3
    for one in matrices:  # entropies are foreseen, not what an array says of itself before them
        foreseen = proposal.forecast.bits[one.name] * math.prod(one.shape) / 8
        assert foreseen == pytest.approx(one.bytes, abs=100)


@pytest.mark.parametrize("count", [1, 9])
def test_a_size_of_vectors_alone_is_foretold_as_it_is_met(count: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    state = {f"v{i}": rng.normal(size=9000 // count).astype(np.float32) for i in range(count)}
    plan = taut.plan(state, size="2x")
    done = taut.compress(state, tmp_path / "o", plan=plan)
    assert done.original_size / done.size > 2
