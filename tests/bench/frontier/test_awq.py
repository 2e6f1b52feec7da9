"""AWQ: what its scales and its clipping must give, by the loss that they are there to lower."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bench.frontier.awq import Inputs, clipped_and_rounded, code, quantize  # noqa: E402
from bench.frontier.fixed import Grid, round_matrix  # noqa: E402

RNG = np.random.default_rng(4)


def loss(weights: np.ndarray, values: np.ndarray, second: np.ndarray) -> float:
    error = weights.astype(np.float64) - values
    return float(np.einsum("ij,jk,ik->", error, second, error))


def inputs(columns: int) -> Inputs:
    """A few columns far larger than the others, as in language models."""
    x = RNG.standard_normal((500, columns)) * np.where(np.arange(columns) % 16 == 3, 30, 1)
    return Inputs(x.T @ x, np.abs(x).mean(0))


def test_columns_of_large_inputs_lose_less_than_when_rounded_to_nearest():
    weights, given, grid = (
        RNG.standard_normal((32, 128)).astype(np.float32),
        inputs(128),
        Grid(3, 64),
    )
    [(values, stored)] = quantize([weights], given, grid)
    nearest, same = round_matrix(weights, grid)
    assert loss(weights, values, given.second) < 0.5 * loss(weights, nearest, given.second)
    assert {k: v.nbytes for k, v in stored.items()} == {k: v.nbytes for k, v in same.items()}


def test_layers_of_one_input_share_their_scales():
    """So that what comes before them can take them on: a small matrix follows a large one."""
    given, grid = inputs(64), Grid(4, 64)
    large, small = (RNG.standard_normal((n, 64)).astype(np.float32) * n for n in (256, 2))
    together, alone = quantize([large, small], given, grid), quantize([large], given, grid)
    np.testing.assert_array_equal(together[0][0], alone[0][0])


def test_clipping_never_loses_more_and_pays_where_one_weight_stands_out():
    weights = RNG.standard_normal((16, 96)).astype(np.float32)
    weights[:, 5] *= 6
    second, grid = np.eye(96), Grid(3, 0)
    values, _ = clipped_and_rounded(weights, second, grid)
    nearest, _ = round_matrix(weights, grid)
    rows = (np.square(weights - one).sum(1) for one in (values, nearest))
    clipped, whole = rows
    assert (clipped <= whole * (1 + 1e-6)).all()
    assert clipped.sum() < 0.9 * whole.sum()


class Block(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = torch.nn.Linear(32, 16), torch.nn.Linear(32, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.first(x), self.second(x)], dim=-1)


class Model:
    """A subject: two layers that read the same, an embedding that nothing reads, and vectors."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self._module = Block()
        self.weights = {n: v.numpy() for n, v in self._module.state_dict().items()}
        self.weights["words"] = RNG.standard_normal((10, 32)).astype(np.float32)
        self.calibration = [torch.randn(50, 32) for _ in range(2)]

    def module(self) -> torch.nn.Module:
        return self._module

    def blocks(self) -> list[list[str]]:
        return [["first", "second"]]


def test_a_whole_model_comes_back_and_is_counted():
    model = Model()
    coded = code(Grid(4, 32), model)
    assert coded.decoded.keys() == model.weights.keys()
    for name, values in coded.decoded.items():
        assert values.shape == model.weights[name].shape
        assert np.abs(values - model.weights[name]).max() < 0.5
    count = sum(v.size for v in model.weights.values())
    assert 4 * count < 8 * coded.nbytes < 16 * count
