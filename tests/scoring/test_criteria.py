"""What the files of a sweep are held to: outputs on data, without what is padding."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import taut
from taut.networks import open_calibration, open_model
from taut.scoring.criteria import ByOutputs, network_of

torch = pytest.importorskip("torch")


class Words(torch.nn.Module):
    """A vector for each token; the same table under two names, and the same buffer too."""

    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(6, 3)
        self.again = self.table
        self.register_buffer("shift", torch.tensor([0.5, 0.0, -0.5]))
        self.register_buffer("moved", self.shift)

    def forward(self, input_ids, attention_mask):
        return self.again(input_ids) + self.moved


@pytest.fixture
def words():
    torch.manual_seed(0)
    return Words().eval()


@pytest.fixture
def batches():
    """Token 5 stands only where there is padding."""
    ids = torch.tensor([[1, 2, 3, 5], [4, 0, 5, 5]])
    return [{"input_ids": ids, "attention_mask": (ids != 5).long()}]


def stored(net, path, change):
    """A file of the network's tensors after a change, and what is told of it."""
    arrays = {name: tensor.numpy().copy() for name, tensor in net.state_dict().items()}
    change(arrays)
    return taut.compress(arrays, path)


def test_padding_does_not_count(words, batches, tmp_path):
    model = open_model(words)
    yardstick = ByOutputs(model, open_calibration(batches, model))

    def padding(arrays):
        arrays["table.weight"][5] = arrays["again.weight"][5] = 100

    def real(arrays):
        arrays["table.weight"][1] = arrays["again.weight"][1] = 0

    [metric] = yardstick.of(stored(words, tmp_path / "padding", padding))
    assert (metric.name, metric.value) == ("fidelity", 1)
    [metric] = yardstick.of(stored(words, tmp_path / "real", real))
    with torch.no_grad():
        outputs = words(**batches[0])[batches[0]["attention_mask"] != 0].double().numpy()
    lost = float((words.table.weight[1].detach().double() ** 2).sum())
    assert metric.value == pytest.approx(1 - lost / np.square(outputs).sum())


def test_a_mask_of_positions_is_none_of_pooled_outputs(words, batches, tmp_path):
    class Pooled(Words):
        def forward(self, input_ids, attention_mask):
            return super().forward(input_ids, attention_mask).sum(1)

    torch.manual_seed(1)
    net = Pooled().eval()
    model = open_model(net)
    yardstick = ByOutputs(model, open_calibration(batches, model))

    def change(arrays):
        arrays["table.weight"][1] = arrays["again.weight"][1] = 0  # once, in the first text

    [metric] = yardstick.of(stored(net, tmp_path / "x", change))
    with torch.no_grad():
        power = float(net(**batches[0]).double().square().sum())
    lost = float((net.table.weight[1].detach().double() ** 2).sum())
    assert metric.value == pytest.approx(1 - lost / power)


def test_tied_tensors_take_the_files_values_under_every_name(words, tmp_path):
    def change(arrays):
        for name in ("table.weight", "again.weight"):
            arrays[name][:] = 2
        for name in ("shift", "moved"):
            arrays[name][:] = 7

    before = copy.deepcopy(words.state_dict())
    info = stored(words, tmp_path / "x", change)
    network = network_of(open_model(words), info.path)
    assert {name: float(one.mean()) for name, one in network.state_dict().items()} == {
        "table.weight": 2,
        "again.weight": 2,
        "shift": 7,
        "moved": 7,
    }
    for name, tensor in words.state_dict().items():  # the caller's own is as it was
        assert torch.equal(tensor, before[name])
