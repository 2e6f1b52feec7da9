"""The verb `analyze`: files without torch, networks with curvature, drops that were measured."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import taut
from taut.analysis.grids import round_to
from taut.analysis.tensor_facts import Report, TensorFacts
from taut.errors import ArgumentError
from taut.scheme import Scheme

SCHEMES = ("rd:2", "rd:3", "rd:4", "int3", "int4:g128", "int8", "fp16")


@pytest.fixture
def file(tmp_path: Path, rng: np.random.Generator) -> Path:
    weights = rng.standard_normal((64, 96)).astype(np.float32)
    broken = weights.copy()
    broken[3, 4], broken[5, 6] = np.nan, np.inf
    tensors = {
        "a.weight": weights,
        "b.weight": weights.copy(),
        "c.weight": broken,
        "a.bias": np.arange(8, dtype=np.float32),
        "ids": np.arange(2000).reshape(40, 50),
        "none": np.zeros((0, 3), np.float32),
    }
    path = tmp_path / "net.safetensors"
    save_file(tensors, path)
    return path


def by_name(report: Report) -> dict[str, TensorFacts]:
    return {facts.name: facts for facts in report.tensors}


def test_a_file_is_described_tensor_by_tensor(file: Path) -> None:
    report = taut.analyze(file)
    found = by_name(report)
    assert report.parameters == 3 * 64 * 96 + 8 + 2000
    assert report.bytes == file.stat().st_size
    weight = found["a.weight"]
    assert (weight.dtype, weight.shape, weight.bytes) == ("F32", (64, 96), 4 * 64 * 96)
    assert sum(facts.share for facts in report.tensors) == pytest.approx(1)
    assert tuple(weight.predictions) == SCHEMES
    errors = [weight.predictions[scheme].rel_mse for scheme in ("rd:2", "rd:3", "rd:4", "fp16")]
    assert errors == sorted(errors, reverse=True)
    assert all(one.loss is None for one in weight.predictions.values())
    assert (found["b.weight"].equal, weight.equal) == ("a.weight", "")
    assert found["none"].distribution is None


def test_lossy_schemes_are_for_finite_floats_and_vectors_take_halves_alone(file: Path) -> None:
    found = by_name(taut.analyze(file))
    broken = found["c.weight"]
    assert broken.distribution is not None
    assert (broken.distribution.nans, broken.distribution.infinities) == (1, 1)
    assert broken.predictions == {}
    assert tuple(found["a.bias"].predictions) == ("fp16",)
    assert found["ids"].predictions == {}
    assert found["ids"].bounds == ()


def test_the_lossless_bound_is_that_of_a_dry_run(file: Path) -> None:
    assert taut.analyze(file).lossless == taut.compress(file, dry_run=True).size


def test_a_file_alone_needs_no_torch(file: Path) -> None:
    code = (
        "import sys, taut\n"
        f"taut.plan(taut.analyze({str(file)!r}), size='3x')\n"
        "print(sorted({'torch', 'transformers', 'rich'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_what_cannot_be_done_is_refused_before_it_begins(file: Path, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="measure: give calib or score"):
        taut.analyze(file, measure=True)
    with pytest.raises(ArgumentError, match="loss: is for calibration"):
        taut.analyze(file, loss=lambda output, batch: output)
    with pytest.raises(ArgumentError, match="unknown part"):
        taut.analyze(file, measure="imt4")
    with pytest.raises(ArgumentError, match="give its bits"):
        taut.analyze(file, measure="rd")
    small = tmp_path / "small.taut.safetensors"
    taut.compress(file, small)
    with pytest.raises(ArgumentError, match="is a Taut file"):
        taut.analyze(small)


def test_a_dict_can_be_described_and_not_run() -> None:
    arrays = {"w": np.eye(64, dtype=np.float32)}
    assert taut.analyze(arrays).tensors[0].shape == (64, 64)
    with pytest.raises(ArgumentError, match="cannot be run"):
        taut.analyze(arrays, [np.ones(3)])


class TestNetwork:
    """Two layers of unlike importance, and a matrix that nothing reads."""

    @pytest.fixture(autouse=True)
    def extra(self):
        self.torch = pytest.importorskip("torch")

    @pytest.fixture
    def net(self):
        torch = self.torch
        torch.manual_seed(0)

        class Net(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.first = torch.nn.Linear(32, 64)
                self.second = torch.nn.Linear(64, 48, False)
                self.unused = torch.nn.Linear(64, 48, False)
                self.small = torch.nn.Linear(48, 4, False)

            def forward(self, x):
                return self.small(self.second(0.01 * self.first(x)))

        return Net()

    @pytest.fixture
    def batches(self):
        generator = self.torch.Generator().manual_seed(1)
        return [self.torch.randn(16, 32, generator=generator) for _ in range(8)]

    def test_curvature_predicts_what_rounding_costs(self, net, batches) -> None:
        """For a linear network the squared change of the output is the trace, in expectation."""
        torch = self.torch
        report = taut.analyze(net, batches)
        first = by_name(report)["first.weight"]
        assert first.module == "Linear"
        assert report.calibrated is not None
        assert (report.calibrated.samples, report.calibrated.batches) == (128, 8)
        x = torch.cat(batches)
        with torch.no_grad():
            before = net(x)
            old = net.first.weight.clone()
            rounded = round_to(old.numpy(), Scheme("rd", bits=2)).values
            net.first.weight.copy_(torch.from_numpy(rounded))
            measured = float((net(x) - before).square().sum(1).mean())
            net.first.weight.copy_(old)
        assert first.predictions["rd:2"].loss == pytest.approx(measured, rel=0.35)

    def test_a_large_matrix_is_rounded_whole_where_there_is_curvature(self) -> None:
        """More than the 2^20 values that a prediction looks at where there is none."""
        torch = self.torch
        torch.manual_seed(0)
        net = torch.nn.Sequential(
            torch.nn.Linear(1030, 1030, False), torch.nn.Linear(1030, 2, False)
        )
        batch = torch.randn(64, 1030)
        found = by_name(taut.analyze(net, [batch]))["0.weight"].predictions["rd:2"]
        old = net[0].weight.detach()
        rounded = torch.from_numpy(round_to(old.numpy(), Scheme("rd", bits=2)).values)
        with torch.no_grad():
            change = net[1](batch @ (rounded - old).T)
        assert found.loss == pytest.approx(float(change.square().sum(1).mean()), rel=0.35)
        error = float((rounded - old).square().sum() / old.square().sum())
        assert found.rel_mse == pytest.approx(error, rel=1e-6)

    def test_what_the_output_does_not_depend_on_costs_nothing(self, net, batches) -> None:
        unused = by_name(taut.analyze(net, batches))["unused.weight"]
        assert unused.sensitivity is not None
        assert (unused.sensitivity.kind, unused.sensitivity.step) == ("none", 0)
        assert unused.predictions["rd:2"].loss == 0

    def test_drops_are_measured_one_tensor_at_a_time(self, net, batches) -> None:
        before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
        report = taut.analyze(net, batches, measure="int3")
        found = by_name(report)
        assert report.measured is not None
        assert (report.measured.scheme, report.measured.tensors) == ("int3", 3)
        assert report.measured.by == "1 - cosine"
        assert report.measured.correlation is not None
        assert found["unused.weight"].drop == pytest.approx(0, abs=1e-12)
        assert found["second.weight"].drop > 1e-4  # type: ignore[operator]
        assert found["first.bias"].drop is None
        after = net.state_dict()
        assert all(self.torch.equal(after[name], before[name]) for name in before)

    def test_a_head_beside_the_main_one_counts_in_what_is_measured(self, batches) -> None:
        torch = self.torch

        class Heads(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.policy, self.value = torch.nn.Linear(16, 64), torch.nn.Linear(16, 64)

            def forward(self, x):
                return {"logits": self.policy(x), "value": self.value(x)}

        data = [torch.randn(32, 16) for _ in range(4)]
        report = taut.analyze(Heads(), data, measure="int3")
        drops = {name: one.drop for name, one in by_name(report).items()}
        assert report.measured.by == "share of what outputs tell"
        assert 1e-3 < drops["policy.weight"] < 0.5 and 1e-3 < drops["value.weight"] < 0.5

    def test_a_score_judges_where_there_is_one(self, net, batches) -> None:
        seen = []

        def score(model) -> float:
            changed = float((model.second.weight - net.second.weight).abs().sum())
            seen.append(changed > 0)
            return 1.0 - (changed > 0)

        report = taut.analyze(net, measure=True, score=score)
        found = by_name(report)
        assert report.measured is not None
        assert (report.measured.by, report.measured.base) == ("score", 1)
        assert report.measured.correlation is None  # nothing was predicted
        assert [name for name in found if found[name].drop] == ["second.weight"]
        assert seen == [False, False, True, False]  # as it is, then a matrix at a time

    def test_predictions_of_classes_are_judged_by_their_divergence(self, batches) -> None:
        torch = self.torch
        torch.manual_seed(0)
        net = torch.nn.Sequential()
        net.add_module("body", torch.nn.Linear(32, 80, False))
        net.add_module("head", torch.nn.Linear(80, 15, False))
        with torch.no_grad():  # what training with a softmax leaves: values against each other
            net.head.weight -= net.head.weight.mean(0)
            net.head.weight *= 8
        report = taut.analyze(net, batches, measure="rd:2")
        assert report.measured is not None
        assert report.measured.by == "KL"
        for facts in report.tensors:  # KL is half of tr(F e e^T), to second order
            assert facts.predictions["rd:2"].loss / 2 == pytest.approx(facts.drop, rel=0.4)

    @pytest.mark.parametrize("value", [float("nan"), "good", None])
    def test_a_score_must_be_a_number(self, net, value: object) -> None:
        with pytest.raises(ArgumentError, match="score"):
            taut.analyze(net, measure=True, score=lambda model: value)

    def test_torch_gets_its_threads_back(self, net, batches) -> None:
        before = self.torch.get_num_threads()
        seen = []
        taut.analyze(
            net,
            batches,
            measure=True,
            score=lambda model: seen.append(self.torch.get_num_threads()) or 0.0,
            threads=before + 1,
        )
        assert set(seen) == {before + 1}
        assert self.torch.get_num_threads() == before

    def test_tied_matrices_are_told_once(self, batches) -> None:
        torch = self.torch
        net = torch.nn.Sequential(torch.nn.Linear(32, 32, False), torch.nn.Linear(32, 32, False))
        net[1].weight = net[0].weight
        report = taut.analyze(net, batches)
        assert by_name(report)["1.weight"].tied == "0.weight"
        assert report.parameters == 32 * 32
        assert len(report.stored) == 1
