"""Masks and runtime grids with calibration data: less is lost, and zeros stay zeros."""

import copy

import numpy as np
import pytest

import taut
from taut.transform import factor_forms
from taut.transform.runtime import GRIDS, calibrated_grid, make_grid, scheme_mask

torch = pytest.importorskip("torch")

F4 = np.dtype(np.float32)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    linear = torch.nn.Linear
    return torch.nn.Sequential(linear(32, 64), torch.nn.ReLU(), linear(64, 64), linear(64, 8))


@pytest.fixture(scope="module")
def batches():
    torch.manual_seed(1)
    mix = 0.4 * torch.randn(32, 32) + torch.eye(32)
    return [torch.randn(48, 32) @ mix for _ in range(10)]


def outputs_off(net, path, batches):
    """Relative squared error of the outputs of the network as the file has it."""
    other = copy.deepcopy(net)
    values = {name: torch.from_numpy(np.array(one)) for name, one in taut.load(path).items()}
    other.load_state_dict(values)
    with torch.no_grad():
        inputs = torch.cat(batches)
        right = net(inputs)
        return float(((other(inputs) - right) ** 2).mean() / (right**2).mean())


def weights_of(net):
    return [name for name, _ in net.named_parameters() if name.endswith("weight")]


@pytest.mark.parametrize("scheme", ["2:4+int4:g16", "ternary", "50%+codebook8", "2:4+rd:2.5"])
def test_calibration_loses_less_with_the_same_zeros(tmp_path, net, batches, scheme):
    plan, lost = dict.fromkeys(weights_of(net), scheme), {}
    for name, words in (("free", {}), ("calibrated", {"calib": batches, "finish": False})):
        path = tmp_path / name
        taut.compress(net, path, plan=plan, **words)
        lost[name] = outputs_off(net, path, batches)
        for tensor in weights_of(net):
            values = taut.load(path)[tensor]
            if "2:4" in scheme:
                assert (values.reshape(-1, 4) != 0).sum(axis=1).max() <= 2
            if "50%" in scheme:
                assert (values == 0).sum() >= values.size // 2
    assert lost["calibrated"] < 0.75 * lost["free"]


def test_the_score_is_that_of_the_file(tmp_path, net, batches):
    """Grids, masks of every kind and the dial in one file, at a size that was asked for."""
    plan = {"0.weight": "2:4+int4:g16", "2.weight": "75%+rd", "2.bias": "50%", "3.bias": "50%+fp16"}

    def score(module):
        with torch.no_grad():
            return -float(((module(batches[0]) - net(batches[0])) ** 2).mean())

    path = tmp_path / "x"
    found = taut.compress(net, path, plan=plan, calib=batches, bits=5, score=score, finish=False)
    assert 4.9 <= found.bits <= 5
    other = copy.deepcopy(net)
    values = {name: torch.from_numpy(np.array(one)) for name, one in taut.load(path).items()}
    other.load_state_dict(values)
    assert score(other) == pytest.approx(found.score, rel=1e-5)
    assert (values["2.weight"] == 0).double().mean() >= 0.75 - 1e-3
    assert (values["2.bias"] == 0).sum() == 32 and (values["3.bias"] == 0).sum() == 4


@pytest.mark.parametrize(
    "text",
    [
        *(kind if kind != "codebook" else "codebook8" for kind in GRIDS),
        *("int8,tensor", "int4:g8,asym", "2:4+int3"),
    ],
)
def test_feedback_serves_every_grid(rng, text):
    scheme = taut.scheme.parse_scheme(text)
    inputs = rng.standard_normal((300, 64)) @ (0.3 * rng.standard_normal((64, 64)) + np.eye(64))
    form = inputs.T @ inputs / len(inputs)
    weights = rng.standard_normal((24, 64)).astype(np.float32)
    metric = factor_forms(np.ones(24), form, damping=(0.0, 0.01))

    def loss(grid):
        missed = weights - grid.values(F4)
        return float(np.trace(missed @ form @ missed.T))

    ours = calibrated_grid(weights, scheme, metric)
    free = make_grid(weights, scheme, scheme_mask(weights, scheme))
    assert loss(ours) < 0.85 * loss(free)
    if scheme.kind.startswith("int"):
        bits = int(scheme.kind[3:])
        runs = ours.indices.reshape(24, -1, scheme.group_size or 64)
        assert np.ptp(runs, axis=2).max() < 2**bits
    if scheme.kind == "binary":
        assert np.all(np.abs(ours.indices) == 1)
    if scheme.n_of_m:
        assert (ours.indices.reshape(-1, 4) != 0).sum(axis=1).max() <= 2


def test_a_mask_that_does_not_fit_names_its_tensor(tmp_path, net, batches):
    plan = {"0.weight": "1:5+int8"}
    with pytest.raises(taut.errors.ArgumentError, match=r'"0.weight": .*5 does not divide 32'):
        taut.compress(net, tmp_path / "x", plan=plan, calib=batches, bits=8)
    assert not list(tmp_path.iterdir())
