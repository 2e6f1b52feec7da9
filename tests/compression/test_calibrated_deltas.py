"""Deltas that are rounded with calibration data, for a size and for a score."""

import copy

import numpy as np
import pytest

import taut
from taut.errors import TargetError

torch = pytest.importorskip("torch")


class Net(torch.nn.Module):
    """Inputs whose directions differ by far in size; one layer of it nobody trains."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(48, 96)
        self.norm = torch.nn.LayerNorm(96)
        self.still = torch.nn.Linear(96, 96)
        self.last = torch.nn.Linear(96, 40)

    def forward(self, x):
        return self.last(torch.relu(self.still(self.norm(torch.relu(self.first(x))))))


@pytest.fixture(scope="module")
def pair():
    """A network, and what a LoRA of rank 4 made of two of its layers; inputs, and others."""
    torch.manual_seed(0)
    base = Net()
    fine = copy.deepcopy(base)
    with torch.no_grad():
        for layer in (fine.first, fine.last):
            up, down = torch.randn(len(layer.weight), 4), torch.randn(4, layer.in_features)
            layer.weight += 0.05 * layer.weight.std() * up @ down
            layer.bias += 0.01
    mix = torch.randn(48, 48) * torch.logspace(0, -2, 48)
    inputs = [torch.randn(32, 48) @ mix for _ in range(12)]
    return base, fine, inputs, torch.randn(200, 48) @ mix


def arrays(net):
    return {name: values.numpy() for name, values in net.state_dict().items()}


def opened(path, base):
    found = Net()
    tensors = taut.load(path, base=base)
    found.load_state_dict({name: torch.from_numpy(np.array(tensors[name])) for name in tensors})
    return found


def lost(net, fine, x):
    with torch.no_grad():
        return float((net(x) - fine(x)).square().mean())


def test_what_the_network_sees_of_a_difference_is_what_a_calibrated_delta_keeps(pair, tmp_path):
    base, fine, inputs, others = pair
    given = arrays(base)
    free = taut.compress(fine, tmp_path / "a.taut.safetensors", base=given, bits=0.6)
    data = {"calib": inputs, "finish": False}
    known = taut.compress(fine, tmp_path / "b.taut.safetensors", base=given, bits=0.6, **data)
    assert known.size <= 0.6 / 8 * sum(p.numel() for p in base.parameters())
    loss = {r.path.name[0]: lost(opened(r.path, given), fine, others) for r in (free, known)}
    assert loss["b"] < 0.6 * loss["a"]
    schemes = {t.name: (t.scheme, t.bytes) for t in known.tensors}
    assert schemes["still.weight"] == schemes["norm.weight"] == ("lossless", 0)
    assert schemes["first.weight"][0].startswith("rd")


def test_a_score_is_of_the_very_values_that_the_delta_decodes_to(pair, tmp_path):
    base, fine, inputs, others = pair
    seen = []

    def score(net):
        seen.append(100 - 100 * lost(net, fine, others))
        return seen[-1]

    asked = {"calib": inputs, "score": score, "max_drop": 0.5}
    found = taut.compress(fine, tmp_path / "a.taut.safetensors", base=arrays(base), **asked)
    assert found.score >= 99.5 and found.bits < 1
    assert score(opened(found.path, arrays(base))) == pytest.approx(found.score, abs=1e-6)


def test_a_model_that_is_its_base_has_nothing_to_be_rounded(pair, tmp_path):
    base, _, inputs, _ = pair
    asked = {"calib": inputs, "score": lambda net: 1.0, "max_drop": 0.5}
    with pytest.raises(TargetError, match="no matrix differs from the base's"):
        taut.compress(base, tmp_path / "a.taut.safetensors", base=arrays(base), **asked)
    assert not list(tmp_path.iterdir())
