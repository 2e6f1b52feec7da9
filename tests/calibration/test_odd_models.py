"""Networks and data of unusual kinds: what is loaded is what was judged, or an error says why."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import pytest

import taut
import taut.errors
from taut.networks.precision import AS_IT_IS

torch = pytest.importorskip("torch")


class Watched:
    """A score that keeps the weights it was last asked about."""

    def __init__(self) -> None:
        self.seen: dict[str, torch.Tensor] = {}

    def __call__(self, module: torch.nn.Module) -> float:
        self.seen = {name: one.detach().clone() for name, one in module.state_dict().items()}
        return 1.0


def batches(*shape: int, count: int = 4) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(*shape, generator=generator) for _ in range(count)]


def loaded_as_judged(net, path, calib, **asked):
    """Compress, load into a copy, and compare with what was judged, to the bit."""
    watched = Watched()
    result = taut.compress(net, path, calib=calib, score=watched, **asked)
    copied = copy.deepcopy(net)
    taut.load(path, into=copied)
    for name, one in copied.state_dict().items():
        assert torch.equal(one, watched.seen[name]), name
    return result, copied


def test_equal_matrices_in_two_places_come_out_alike(tmp_path):
    torch.manual_seed(0)
    layer = torch.nn.Sequential(torch.nn.Linear(32, 32), torch.nn.Tanh())
    net = torch.nn.Sequential(layer, copy.deepcopy(layer), torch.nn.Linear(32, 64))
    _, copied = loaded_as_judged(net, tmp_path / "x", batches(16, 32), bits=4, finish=False)
    assert torch.equal(copied[0][0].weight, copied[1][0].weight)
    assert not torch.equal(copied[0][0].weight, net[0][0].weight)


class Plain(torch.nn.Module):
    """A linear map beside a matrix that is no parameter."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = torch.nn.Linear(32, 64)
        self.register_buffer("table", torch.randn(40, 40))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) + self.table.sum()


def test_a_matrix_that_is_a_buffer_is_rounded_by_its_scale(tmp_path):
    result, copied = loaded_as_judged(Plain(), tmp_path / "x", batches(8, 32), bits=4, finish=False)
    assert "table: no matrix of the network; rounded by its scale" in result.notes
    assert 0 < float((copied.table - Plain().table).abs().max()) < 1


def test_a_vector_under_the_dial_is_rounded_too(net, batches, tmp_path):
    result, _ = loaded_as_judged(
        net, tmp_path / "x", batches, bits=4, plan={"0.bias": "rd"}, finish=False
    )
    assert "0.bias: no matrix of the network; rounded by its scale" in result.notes


def test_a_score_that_ruins_its_model_ruins_no_other(net, batches, tmp_path):
    x, seen = batches[0], []

    def ruining(module):
        seen.append(float(module(x).norm()))
        for one in module.parameters():
            one.data.zero_()
        return seen[-1]

    with torch.no_grad():
        original = float(net(x).norm())
    result = taut.compress(net, tmp_path / "x", calib=batches, bits=6, score=ruining, finish=False)
    assert (len(seen), seen[0]) == (2, pytest.approx(original))
    assert result.score == pytest.approx(original, rel=0.01)


def test_a_bias_that_float16_could_not_hold_stays(tmp_path):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.ReLU(), torch.nn.Linear(64, 32))
    net[0].weight.data[3, 4] = 1e10
    _, copied = loaded_as_judged(net, tmp_path / "x", batches(4, 32), bits=3, finish=False)
    assert torch.equal(copied[0].bias, net[0].bias.half().float())


class Twice(torch.nn.Module):
    """Two layers in a row, which share what `tie` has them share."""

    def __init__(self, tie) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a = torch.nn.Linear(64, 64)
        self.b = torch.nn.Linear(64, 64)
        tie(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.a(x).relu())


def _one_module(net: torch.nn.Module) -> None:
    net.b = net.a


def _one_bias(net: torch.nn.Module) -> None:
    net.b.bias = net.a.bias


def _one_memory(net: torch.nn.Module) -> None:
    net.b.bias = torch.nn.Parameter(net.a.bias.data)


@pytest.mark.parametrize("tie", [_one_module, _one_bias, _one_memory])
def test_what_layers_share_is_shared_by_all_and_moved_for_none(tie, tmp_path):
    net = Twice(tie)
    _, copied = loaded_as_judged(net, tmp_path / "x", batches(8, 64), bits=3, finish=False)
    assert torch.equal(copied.a.bias, copied.b.bias)
    moved = not torch.equal(copied.a.bias, net.a.bias.half().float())
    assert moved is (tie is _one_module)  # one layer, if under two names


def test_a_negative_seed_is_refused(net, batches, tmp_path):
    with pytest.raises(taut.errors.ArgumentError, match="seed: -1 is below zero"):
        taut.compress(net, tmp_path / "x", calib=batches, bits=3, seed=-1)


@dataclass
class Answer:
    """An output as many models give it."""

    count: int
    hidden: torch.Tensor


class Answering(Plain):
    """Gives its output in a dataclass."""

    def forward(self, x: torch.Tensor) -> Answer:
        return Answer(len(x), self.linear(x))


def test_an_output_in_a_dataclass_is_found(tmp_path):
    loaded_as_judged(Answering(), tmp_path / "x", batches(8, 32), bits=4, finish=False)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_takes_batches_of_its_own_kind(tmp_path, dtype):
    net = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 32))
    data = [batch.to(dtype) for batch in batches(8, 64)]
    result = taut.compress(net.to(dtype), tmp_path / "x", calib=data, bits=6, finish=False)
    assert 5.9 < result.bits <= 6


@pytest.mark.parametrize("size", ["1.25x", "1.4x"])
def test_a_size_with_room_for_more_than_the_finest_steps_is_met(net, batches, tmp_path, size):
    result = taut.compress(net, tmp_path / "x", calib=batches, size=size, finish=False)
    assert result.ratio >= float(size[:-1])
    assert all(tensor.rel_mse < 1e-4 for tensor in result.tensors)


def test_a_size_with_nothing_under_the_dial_is_refused_with_what_there_is(net, batches, tmp_path):
    plan = taut.planning.Plan.model_validate({"rules": [{"match": "*", "scheme": "rd:3"}]})
    with pytest.raises(taut.errors.TargetError, match=r"20 bits.*nearest file") as caught:
        taut.compress(net, tmp_path / "x", calib=batches, plan=plan, bits=20)
    assert caught.value.best is not None
    assert not (tmp_path / "x").exists()


def test_more_bits_of_its_own_than_there_are_take_the_finest(net, batches, tmp_path):
    plan = taut.planning.Plan.model_validate({"rules": [{"match": "*", "scheme": "rd:30"}]})
    result = taut.compress(net, tmp_path / "x", calib=batches, plan=plan, finish=False)
    assert all(tensor.rel_mse < 1e-4 for tensor in result.tensors)


class Halving(torch.nn.Module):
    """A block that names its own type: it does not run in float32."""

    def __init__(self) -> None:
        super().__init__()
        self.a = torch.nn.Linear(32, 32).half()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.a(x.half()).relu()


@pytest.mark.parametrize("large", [1, 1 << 25])
@pytest.mark.parametrize("blocks", [1, 2])
def test_what_names_its_half_precision_is_calibrated_as_it_is(blocks, large, tmp_path, monkeypatch):
    monkeypatch.setattr("taut.calibration.start.LARGE", large)
    torch.manual_seed(0)
    net = torch.nn.Sequential(*(Halving() for _ in range(blocks)))
    data = batches(8, 32)
    result = taut.compress(net, tmp_path / "x", calib=data, bits=4, finish=False)
    assert AS_IT_IS in result.notes

    def score(module: torch.nn.Module) -> float:
        return 1 - float((module(data[0]) - net(data[0])).norm() / net(data[0]).norm())

    kept = taut.compress(net, tmp_path / "y", calib=data, max_drop=0.1, score=score, finish=False)
    assert score(taut.load(kept.path, into=net)) >= 0.9
