"""GPTQ: what feeding errors forward must give, by the loss that it is there to lower."""

import numpy as np
import pytest

pytest.importorskip("scipy")
torch = pytest.importorskip("torch")

from bench.frontier.fixed import Grid, round_matrix  # noqa: E402
from bench.frontier.gptq import code, quantize, random_basis  # noqa: E402
from bench.frontier.walk import Walk  # noqa: E402

RNG = np.random.default_rng(2)


def loss(weights: np.ndarray, values: np.ndarray, second: np.ndarray) -> float:
    error = weights.astype(np.float64) - values
    return float(np.einsum("ij,jk,ik->", error, second, error))


def correlated(columns: int, samples: int) -> np.ndarray:
    x = RNG.standard_normal((samples, columns)) @ RNG.standard_normal((columns, columns))
    return x.T @ x


def plainly(weights: np.ndarray, second: np.ndarray, grid: Grid) -> np.ndarray:
    """The same by optimal brain surgery itself: invert what is left of H for every column."""
    W = weights.astype(np.float64)
    H = second + 0.01 * np.diag(second).mean() * np.eye(len(second))
    out = np.empty_like(W)
    for j in range(W.shape[1]):
        if j % grid.group == 0:
            scale, zero = grid.fit(W[:, j : j + grid.group].astype(np.float32))
        out[:, j : j + 1] = grid.values(grid.round(W[:, j : j + 1], scale, zero), scale, zero)
        inverse = np.linalg.inv(H[j:, j:])
        W[:, j:] -= np.outer((W[:, j] - out[:, j]) / inverse[0, 0], inverse[0])
    return out


def test_it_is_optimal_brain_surgery_column_by_column():
    weights = RNG.standard_normal((5, 150)).astype(np.float32)  # more than one block
    second, grid = correlated(150, 400), Grid(4, 64)
    values, _ = quantize(weights, second, grid)
    np.testing.assert_allclose(values, plainly(weights, second, grid), rtol=1e-4, atol=1e-5)


def test_correlated_inputs_lose_less_than_half_of_what_rounding_to_nearest_does():
    weights = RNG.standard_normal((64, 96)).astype(np.float32)
    second, grid = correlated(96, 1000), Grid(3, 32)
    values, stored = quantize(weights, second, grid)
    nearest, same = round_matrix(weights, grid)
    assert loss(weights, values, second) < 0.5 * loss(weights, nearest, second)
    assert {k: v.nbytes for k, v in stored.items()} == {k: v.nbytes for k, v in same.items()}


def test_an_input_that_is_always_zero_gets_a_zero_column():
    weights = RNG.standard_normal((4, 32)).astype(np.float32)
    second = correlated(32, 100)
    second[7], second[:, 7] = 0, 0
    values, _ = quantize(weights, second, Grid(4, 32))
    assert np.all(values[:, 7] == 0)
    assert np.isfinite(values).all()


@pytest.mark.parametrize("stride", [1, 2])
def test_moments_of_a_convolution_are_those_of_its_patches(stride):
    network = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Conv2d(3, 4, 3, stride, 1))
    images = torch.rand(5, 3, 8, 8)
    found = Walk(network, [images[:2], images[2:]]).second_moments(["1"])["1"]
    # The patch at each output: x x^T summed over them, by padding and slicing.
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)))
    at = range(0, 8, stride)
    patches = [padded[:, :, i : i + 3, j : j + 3].reshape(5, -1) for i in at for j in at]
    rows = np.concatenate(patches).astype(np.float64)
    np.testing.assert_allclose(found, rows.T @ rows, rtol=1e-5)


def test_a_chain_of_blocks_gives_the_moments_of_whole_runs():
    block = lambda: torch.nn.Sequential(torch.nn.Linear(6, 6), torch.nn.Tanh())  # noqa: E731
    torch.manual_seed(0)
    network = torch.nn.Sequential(*(block() for _ in range(3)))
    x = torch.rand(8, 6)
    walk = Walk(network, [x[:5], x[5:]])
    for index in range(3):
        found = walk.second_moments([f"{index}.0"])[f"{index}.0"]
        rows = network[:index](x).detach().double().numpy()
        np.testing.assert_allclose(found, rows.T @ rows, rtol=1e-5)
        with torch.no_grad():
            network[index][0].weight.mul_(0.5)  # later blocks see what this one became


class Model:
    """A subject whose first inputs and weights stand out."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self._layer = torch.nn.Linear(64, 32, bias=False)
        with torch.no_grad():
            self._layer.weight[:, 7] *= 40
        self.weights = {"layer.weight": self._layer.weight.detach().numpy().copy()}
        self.calibration = [torch.randn(200, 64)]

    def module(self) -> torch.nn.Module:
        return torch.nn.ModuleDict({"layer": self._layer})

    def blocks(self) -> list[list[str]]:
        return [["layer"]]


def test_in_a_random_basis_no_column_stands_out(monkeypatch):
    monkeypatch.setattr(Walk, "__init__", lambda *_: None)
    monkeypatch.setattr(Walk, "second_moments", lambda *_: {"layer": np.eye(64)})
    lost = {}
    for turned in (False, True):
        model = Model()
        coded = code(Grid(4, 0), None, model, turned=turned)
        lost[turned] = np.square(
            coded.decoded["layer.weight"] - model.weights["layer.weight"]
        ).sum()
    assert lost[True] < 0.6 * lost[False]
    Q = random_basis(64)
    np.testing.assert_allclose(Q @ Q.T, np.eye(64), atol=1e-12)
