"""The curvature of an ONNX model from runs forward: inputs' moments exactly, gains by trials."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from taut.analysis import Curvature, collect
from taut.analysis.onnx_curvature import collect_onnx, quadratic
from taut.calibration.biases import corrected_biases
from taut.calibration.findings import Findings
from taut.errors import ArgumentError
from taut.journal.journal import Journal
from taut.transform.damping import noise_of

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from taut.networks.onnx_network import open_network  # noqa: E402


def network(
    path: Path,
    nodes: list[onnx.NodeProto],
    weights: dict[str, np.ndarray],
    inputs: dict[str, int] | None = None,
) -> tuple[torch.nn.Module, dict[str, str]]:
    """A module of these nodes from x (and others, by type) to y."""
    types = inputs or {"x": TensorProto.FLOAT}
    ends = [helper.make_tensor_value_info(name, kind, None) for name, kind in types.items()]
    given = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    result = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "g", ends, result, given)
    opsets = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return open_network(path)


def curvature(path: Path, *given: object, batches: list[object]) -> dict[str, Curvature]:
    module, names = network(path, *given)  # type: ignore[arg-type]
    found = collect_onnx(module, batches)  # type: ignore[arg-type]
    return {tensor: found[parameter] for tensor, parameter in names.items() if parameter in found}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "m.onnx"


def floats(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def test_a_products_first_axis_gets_the_moments(path: Path, rng: np.random.Generator) -> None:
    x, w = floats(rng, 50, 4), floats(rng, 4, 6)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    batches = [torch.from_numpy(x[:30]), torch.from_numpy(x[30:])]
    one = curvature(path, nodes, {"w": w}, batches=batches)["w"]
    assert np.allclose(one.rows, x.T @ x / 50, atol=1e-5)
    assert one.mean_input is not None
    assert np.allclose(one.mean_input, x.mean(0), atol=1e-6)
    assert (one.swapped, one.positions, one.kind) == (True, 50, "linear")
    # Of a single layer the output's change is the error times x: the same for every output.
    assert np.ptp(one.columns) == 0
    assert one.columns[0] == pytest.approx(50 / np.square(x @ w).sum(), rel=0.2)


def test_convolutions_see_patches_as_torch_does(path: Path, rng: np.random.Generator) -> None:
    layer = torch.nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2, bias=False)
    more = {"strides": [2, 2], "pads": [1, 1, 1, 1], "group": 2}
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], **more)]
    weights = {"w": layer.weight.detach().numpy()}
    batch = torch.from_numpy(floats(rng, 3, 4, 8, 8))
    one = curvature(path, nodes, weights, batches=[batch])["w"]
    same = collect(layer, lambda: [batch])["weight"]
    assert one.columns.shape == (2, 18, 18)
    assert np.allclose(one.columns, same.columns, atol=1e-5)
    assert one.rows.shape == (6,)


def test_rows_of_a_table_count_and_padding_does_not(path: Path, rng: np.random.Generator) -> None:
    nodes = [
        helper.make_node("Gather", ["t", "x"], ["e"]),
        helper.make_node("Cast", ["attention_mask"], ["m"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["m", "axes"], ["n"]),
        helper.make_node("Mul", ["e", "n"], ["y"]),
    ]
    weights = {"t": floats(rng, 5, 3), "axes": np.array([2])}
    inputs = {"x": TensorProto.INT64, "attention_mask": TensorProto.INT64}
    batch = {"x": torch.tensor([[1, 2, 0], [1, 1, 4]]), "attention_mask": torch.ones(2, 3).long()}
    batch["attention_mask"][0, 2] = 0
    one = curvature(path, nodes, weights, inputs, batches=[batch])["t"]
    assert np.allclose(one.rows / one.rows.sum(), np.array([0, 3, 1, 0, 1]) / 5)


def test_gains_tell_layers_apart_that_count_differently(
    path: Path, rng: np.random.Generator
) -> None:
    """Of x a + 0.1 x b an error in b counts a hundredth."""
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["p"]),
        helper.make_node("MatMul", ["x", "b"], ["q"]),
        helper.make_node("Mul", ["q", "tenth"], ["r"]),
        helper.make_node("Add", ["p", "r"], ["y"]),
    ]
    weights = {"a": floats(rng, 30, 40), "b": floats(rng, 30, 40), "unused": floats(rng, 3, 3)}
    batch = torch.from_numpy(floats(rng, 20, 30))
    found = curvature(path, nodes, weights | {"tenth": np.float32(0.1).reshape(1)}, batches=[batch])
    assert found["a"].columns[0] / found["b"].columns[0] == pytest.approx(100, rel=0.2)
    assert found["unused"].kind == "none"


def test_a_tied_head_adds_to_its_table(path: Path, rng: np.random.Generator) -> None:
    nodes = [
        helper.make_node("Gather", ["t", "x"], ["e"]),
        helper.make_node("Transpose", ["t"], ["h"], perm=[1, 0]),
        helper.make_node("MatMul", ["e", "h"], ["y"]),
    ]
    weights, ids = {"t": floats(rng, 5, 3)}, torch.tensor([[0, 2, 2, 4]])
    one = curvature(path, nodes, weights, {"x": TensorProto.INT64}, batches=[ids])["t"]
    assert (one.kind, one.rows.shape, one.columns.shape) == ("embedding+linear", (5,), (3, 3))
    assert (one.rows > 0).all()  # every row gives a logit
    assert one.rows[2] > one.rows[0] > one.rows[1]
    assert one.bias is None


def test_no_batches_are_told(path: Path, rng: np.random.Generator) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    with pytest.raises(ArgumentError, match="no samples"):
        curvature(path, nodes, {"w": floats(rng, 4, 4)}, batches=[])


@pytest.mark.parametrize("swapped", [False, True])
def test_the_expected_loss_is_that_of_the_inputs(swapped: bool, rng: np.random.Generator) -> None:
    x, error = rng.standard_normal((200, 5)), rng.standard_normal((5, 5))
    form = x.T @ x / 200
    one = Curvature(
        *((form, np.ones(5)) if swapped else (np.ones(5), form)),
        *(None, None, 200, 200, "linear", 0),
    )
    wanted = np.square(x @ (error if swapped else error.T)).sum(1).mean()
    assert quadratic(error, one) == pytest.approx(wanted)


def test_forms_of_inputs_along_the_first_axis_are_damped_by_their_samples() -> None:
    def one(positions: int) -> Curvature:
        sides = np.eye(64), np.ones(8)
        return Curvature(*sides, None, None, positions, 1, "linear", 0, swapped=True)

    assert noise_of([one(6400)]) == pytest.approx(0.05)
    assert noise_of([one(400)]) == pytest.approx(0.2)


def test_a_bias_takes_up_the_mean_error_along_the_right_axis(rng: np.random.Generator) -> None:
    """A square weight does not tell by its shape which axis takes the inputs."""
    from taut.calibration import Rounder
    from taut.io import open_source
    from taut.scheme import Scheme

    values = {"w": floats(rng, 40, 40), "b": np.zeros(40, np.float32)}
    source, schemes = open_source(values), {"w": Scheme("rd"), "b": Scheme()}
    x = rng.standard_normal((500, 40)) + 3
    one = Curvature(
        *(x.T @ x / 500, np.ones(40), x.mean(0), "b", 500, 500, "linear", 0), swapped=True
    )
    rounder = Rounder(source, schemes, {"w": one})
    rounder.turn(0.5)
    bias = corrected_biases(rounder, source, schemes, {"b": "b"})["b"]
    error = x @ (values["w"] - rounder.found["w"].decoded) - bias
    assert np.abs(error.mean(0)).max() < 1e-4
    assert np.abs(bias).max() > 1e-3


def test_torch_tells_which_axis_takes_the_inputs(rng: np.random.Generator) -> None:
    class Turned(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.from_numpy(floats(rng, 6, 6)))
            self.bias = torch.nn.Parameter(torch.zeros(6))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.addmm(self.bias, x, self.weight)

    batch = torch.from_numpy(floats(rng, 9, 6))
    assert collect(Turned(), lambda: [batch])["weight"].swapped
    assert not collect(torch.nn.Linear(6, 6), lambda: [batch])["weight"].swapped


def test_a_journal_keeps_which_axis_takes_the_inputs(tmp_path: Path) -> None:
    def one(swapped: bool) -> Curvature:
        return Curvature(np.eye(3), np.ones(3), None, None, 5, 5, "linear", 0, swapped=swapped)

    made = {"a": one(True), "b": one(False)}
    with Findings(Journal.open(tmp_path / "out", {"model": "m"}, resume=False)) as record:
        record.curvatures(made, lambda: made)
    with Findings(Journal.open(tmp_path / "out", {"model": "m"}, resume=True)) as record:
        found = record.curvatures(made, dict)
    assert [found[name].swapped for name in "ab"] == [True, False]
