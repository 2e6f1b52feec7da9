"""Calibrated compression from end to end, on networks of a few thousand weights."""

from __future__ import annotations

import copy
from math import prod

import numpy as np
import pytest
from tests.thorough import sample

import taut
from taut.errors import ArgumentError, TargetError
from taut.planning import Plan

torch = pytest.importorskip("torch")


def stored(path):
    return {name: np.array(array) for name, array in taut.load(path).items()}


@pytest.mark.parametrize(("asked", "most"), [({"bits": 3.0}, 15_684), ({"size": "8x"}, None)])
def test_a_size_is_met_within_a_percent_from_below(net, batches, tmp_path, asked, most):
    result = taut.compress(net, tmp_path / "x", calib=batches, finish=False, **asked)
    most = most or result.original_size // 8
    assert 0.99 * most <= (tmp_path / "x").stat().st_size <= most
    assert result.size == (tmp_path / "x").stat().st_size
    assert (result.score, result.original_score, result.tries) == (None, None, ())


@pytest.mark.parametrize("drop", ["1%", 2.0])
@pytest.mark.parametrize("finish", sample([True, False], "a search for a score"))
def test_a_score_is_met_in_at_most_twelve_evaluations(net, batches, score, tmp_path, drop, finish):
    result = taut.compress(
        net, tmp_path / "x", calib=batches, max_drop=drop, score=score, finish=finish
    )
    assert score.calls <= 12
    assert score.calls == 1 + len(result.tries)
    assert result.original_score == 100
    least = 99 if drop == "1%" else 98
    assert least <= result.score < 100
    assert any(one.score < least for one in result.tries)  # it went as far as it could
    copied = copy.deepcopy(net)
    taut.load(tmp_path / "x", into=copied)
    assert score(copied) == result.score


@pytest.mark.parametrize(("finish", "good"), [(True, False), (False, False), (False, True)])
def test_a_score_that_tells_nothing_is_asked_for_at_most_twelve_times(
    net, batches, tmp_path, finish, good
):
    asked = []

    def flat(module: torch.nn.Module) -> float:
        asked.append(module)
        return 1.0 if good or len(asked) == 1 else 0.0

    words = {"calib": batches, "max_drop": "1%", "score": flat, "finish": finish}
    if good:
        taut.compress(net, tmp_path / "x", **words)
    else:
        with pytest.raises(TargetError, match="falls to 0"):
            taut.compress(net, tmp_path / "x", **words)
    assert 8 <= len(asked) <= 12


def test_what_is_loaded_is_what_was_evaluated(net, batches, score, tmp_path):
    taut.compress(net, tmp_path / "x", calib=batches, bits=3, score=score)
    found = stored(tmp_path / "x")
    assert found.keys() == score.seen.keys()
    for name, seen in score.seen.items():
        np.testing.assert_array_equal(found[name].view("u4"), seen.numpy().view("u4"))


def test_the_callers_module_is_left_alone(net, batches, score, tmp_path):
    net.train()
    before = {name: one.clone() for name, one in net.state_dict().items()}
    random = torch.get_rng_state()
    taut.compress(net, tmp_path / "x", calib=batches, bits=2, score=score)
    assert net.training and all(one.training for one in net.modules())
    assert all(torch.equal(before[name], one) for name, one in net.state_dict().items())
    assert all(one.grad is None and one.requires_grad for one in net.parameters())
    assert torch.equal(random, torch.get_rng_state())


@pytest.mark.slow("the same run three times")
def test_bytes_are_the_same_on_any_number_of_threads(net, batches, tmp_path):
    for name, threads in (("one", 1), ("again", 1), ("two", 2)):
        taut.compress(net, tmp_path / name, calib=batches, bits=3, threads=threads)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "again").read_bytes()
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_calibration_loses_less_than_rounding_alone(net, batches, score, tmp_path):
    taut.compress(net, tmp_path / "free", bits=3)
    copied = copy.deepcopy(net)
    taut.load(tmp_path / "free", into=copied)
    alone = 100 - score(copied)
    result = taut.compress(net, tmp_path / "x", calib=batches, bits=3, score=score)
    assert 100 - result.score < 0.8 * alone


def test_a_size_out_of_reach_gives_the_best_and_writes_nothing(net, batches, tmp_path):
    with pytest.raises(TargetError) as caught:
        taut.compress(net, tmp_path / "x", calib=batches, size="9000x")
    assert caught.value.best.size > 0
    assert list(tmp_path.iterdir()) == []


def test_a_score_out_of_reach_gives_the_best_and_writes_nothing(net, batches, tmp_path):
    first = net[0].weight.detach().clone()

    def strict(module: torch.nn.Module) -> float:
        return float(torch.equal(module[0].weight, first))

    with pytest.raises(TargetError, match="falls to 0") as caught:
        taut.compress(net, tmp_path / "x", calib=batches, max_drop="1%", score=strict)
    assert caught.value.best.score == 0
    assert list(tmp_path.iterdir()) == []


def test_a_size_and_a_score_that_cannot_both_be_met(net, batches, score, tmp_path):
    with pytest.raises(TargetError, match="cannot both be met"):
        taut.compress(
            net, tmp_path / "x", calib=batches, size="20x", max_drop="0.5%", score=score,
            finish=False,
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (float("nan"), "gave nan"),
        (float("inf"), "gave inf"),
        ("0.9", "gave a str"),
        (None, "gave a NoneType"),
        (torch.zeros(3), "several numbers"),
    ],
)
def test_a_score_that_is_no_number_is_told(net, batches, tmp_path, given, told):
    with pytest.raises(ArgumentError, match=told):
        taut.compress(net, tmp_path / "x", calib=batches, max_drop="1%", score=lambda _: given)
    assert not (tmp_path / "x").exists()


def test_a_score_that_fails_is_told_with_its_reason(net, batches, score, tmp_path):
    score.fail_at = 1
    with pytest.raises(ArgumentError, match="score: failed: RuntimeError: the power went"):
        taut.compress(net, tmp_path / "x", calib=batches, bits=3, score=score)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"bits": 3, "calib": [torch.ones(2, 5)]}, "rejects it"),
        ({"bits": 3, "calib": []}, "no batches"),
        ({"calib": [torch.ones(2, 64)]}, "give bits, size or max_drop"),
        ({"calib": [torch.ones(2, 64)], "max_drop": "1%"}, "score"),
        ({"max_drop": "1%", "score": float}, "give calib"),
    ],
)
def test_what_does_not_fit_together_is_told_first(net, tmp_path, words, told):
    with pytest.raises(ArgumentError, match=told):
        taut.compress(net, tmp_path / "x", **words)
    assert list(tmp_path.iterdir()) == []


def test_weights_alone_cannot_be_calibrated(net, batches, tmp_path):
    taut.compress(net, tmp_path / "x")
    taut.decompress(tmp_path / "x", tmp_path / "net.safetensors")
    with pytest.raises(ArgumentError, match="holds weights alone"):
        taut.compress(tmp_path / "net.safetensors", tmp_path / "y", calib=batches, bits=3)


def test_a_plan_decides_tensor_by_tensor(net, batches, score, tmp_path):
    (tmp_path / "plan.yaml").write_text(
        "taut: 1\ntarget: {bits: 5}\nfinish: false\nrules:\n"
        "- {match: 0.weight, scheme: 'rd:2.5'}\n- {match: 0.bias, scheme: keep}\n"
        "- {match: '*.bias', scheme: fp16}\n"
    )
    result = taut.compress(net, tmp_path / "x", calib=batches, plan=tmp_path / "plan.yaml")
    kinds = {tensor.name: tensor.scheme for tensor in result.tensors}
    assert (kinds["0.weight"], kinds["0.bias"], kinds["3.bias"]) == ("rd:2.5", "keep", "fp16")
    bits = {tensor.name: tensor.bits for tensor in result.tensors}
    assert 2.4 < bits["0.weight"] <= 2.52
    assert 0.99 * 5 <= result.bits <= 5


def test_bits_for_every_matrix_need_no_target(net, batches, tmp_path):
    plan = {"0.weight": "rd:3", "3.weight": "rd:2"}
    result = taut.compress(net, tmp_path / "x", calib=batches, plan=plan, finish=False)
    bits = {tensor.name: tensor.bits for tensor in result.tensors}
    assert bits["0.weight"] == pytest.approx(3, rel=0.02)
    assert bits["3.weight"] == pytest.approx(2, rel=0.02)


def test_a_weight_in_the_plan_multiplies_the_steps(net, batches, tmp_path):
    def bits(weight: float) -> float:
        (tmp_path / "plan.yaml").write_text(
            "taut: 1\ntarget: {bits: 3}\nrules:\n"
            f"- {{match: 0.weight, scheme: rd, weight: {weight}}}\n"
        )
        result = taut.compress(net, calib=batches, plan=tmp_path / "plan.yaml", dry_run=True)
        return next(one.bits for one in result.tensors if one.name == "0.weight")

    assert 0.5 < bits(1) - bits(2) < 1.5  # twice the step is a bit less, and others take it


def test_a_dry_run_writes_nothing_and_knows_the_size(net, batches, tmp_path):
    words = {"calib": batches, "bits": 3}
    told = taut.compress(net, tmp_path / "x", dry_run=True, **words)
    assert list(tmp_path.iterdir()) == []
    written = taut.compress(net, tmp_path / "x", finish=False, **words)
    assert told.size == written.size


class Odd(torch.nn.Module):
    """What is no plain stack of layers: tied embeddings, a grouped and a depthwise convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(60, 32)
        self.depthwise = torch.nn.Conv1d(32, 32, 33, padding=16, groups=32)
        self.grouped = torch.nn.Conv1d(32, 32, 5, padding=2, groups=4)
        self.head = torch.nn.Linear(32, 60, bias=False)
        self.head.weight = self.table.weight
        self.idle = torch.nn.Linear(40, 40)  # never runs

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.table(tokens).transpose(1, 2)
        x = torch.relu(self.grouped(self.depthwise(x))) + x
        return self.head(x.transpose(1, 2))


def test_tied_grouped_and_idle_weights(tmp_path):
    torch.manual_seed(0)
    net = Odd()
    tokens = [torch.randint(0, 50, (4, 20)) for _ in range(4)]
    result = taut.compress(net, tmp_path / "x", calib=tokens, bits=6, finish=False)
    copied = copy.deepcopy(net)
    taut.load(tmp_path / "x", into=copied)
    assert copied.head.weight is copied.table.weight
    kinds = {tensor.name: tensor.scheme for tensor in result.tensors}
    for name in ("table.weight", "depthwise.weight", "grouped.weight", "idle.weight"):
        assert kinds[name] == "rd"
        before, after = net.get_parameter(name), copied.get_parameter(name)
        assert 0 < float((before - after).norm() / before.norm()) < 0.5
    with torch.no_grad():
        far = [float((net(t) - copied(t)).norm() / net(t).norm()) for t in tokens]
    assert max(far) < 0.2
    assert sum(prod(t.shape) for t in result.tensors) > result.parameters  # the tie counts once


def test_dead_inputs_and_few_samples_are_told(net, tmp_path):
    x = torch.randn(4, 64)
    x[:, :9] = 0
    result = taut.compress(net, tmp_path / "x", calib=[x], bits=4, finish=False)
    assert any("9 of 64 inputs are always zero" in note for note in result.notes)
    assert all(np.isfinite(array).all() for array in stored(tmp_path / "x").values())


def test_transformers_conv1d_is_stored_the_other_way_round(tmp_path):
    pytorch_utils = pytest.importorskip("transformers.pytorch_utils")
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        pytorch_utils.Conv1D(96, 64), torch.nn.ReLU(), torch.nn.Linear(96, 64)
    )
    data = [torch.randn(32, 64) * torch.linspace(0.01, 3, 64) for _ in range(16)]
    taut.compress(net, tmp_path / "x", calib=data, bits=4.5, finish=False)
    error = np.square(stored(tmp_path / "x")["0.weight"] - net[0].weight.detach().numpy()).mean(1)
    assert error[:8].mean() > 4 * error[-8:].mean()  # rows are inputs here: what is loud is kept


def test_bits_that_are_too_many_take_the_finest_step(tmp_path):
    torch.manual_seed(0)
    wide = torch.nn.Linear(64, 64)
    with torch.no_grad():
        wide.weight[0, 0] = 1e3
    x = torch.randn(8, 64) * torch.logspace(-3, 3, 64)
    result = taut.compress(wide, tmp_path / "x", calib=[x], bits=12)
    assert result.bits <= 12
    want = wide(x).detach()
    got = taut.load(tmp_path / "x", into=wide)(x).detach()
    assert float((got - want).norm() / want.norm()) < 0.05
    assert any("the finest" in note for note in result.notes)


class Divided(torch.nn.Module):
    """A network that divides by deviations, of which one is tiny."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.register_buffer("std", torch.rand(64) + 0.1)
        self.std[3] = 2e-8
        self.first, self.out = torch.nn.Linear(64, 128), torch.nn.Linear(128, 40)

    def forward(self, x):
        return self.out(torch.relu(self.first(x / self.std)))


@pytest.mark.parametrize("calibrated", [False, True])
def test_what_is_divided_by_keeps_its_tiny_values(tmp_path, calibrated):
    net = Divided()
    x = torch.randn(128, 64, generator=torch.Generator().manual_seed(0)) * net.std
    more = {"calib": list(x.split(16)), "finish": False} if calibrated else {}
    found = taut.compress(net, tmp_path / "x", bits=5, **more)
    with torch.no_grad():
        new, old = taut.load(tmp_path / "x", into=Divided())(x), net(x)
    assert ((new - old).square().sum() / old.square().sum()) < 0.05
    assert not any("nan" in note for note in found.notes)


def test_a_file_whose_outputs_are_no_numbers_is_not_written(tmp_path):
    net = Divided()
    x = torch.randn(128, 64, generator=torch.Generator().manual_seed(0)) * net.std
    plan = Plan(rules=[{"match": "std", "scheme": "fp16"}])
    with pytest.raises(ArgumentError, match="NaN or infinite, which the original's are not"):
        taut.compress(net, tmp_path / "x", bits=5, calib=list(x.split(16)), plan=plan)
    assert not (tmp_path / "x").exists()
