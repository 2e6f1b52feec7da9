"""The curvature of an ONNX model from runs forward: inputs' moments exactly, gains by trials."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import taut
from taut.analysis import Curvature, collect
from taut.analysis.onnx_curvature import collect_onnx, quadratic
from taut.calibration.biases import corrected_biases
from taut.calibration.findings import Findings
from taut.errors import ArgumentError
from taut.journal.journal import Journal
from taut.networks.chosen_outputs import OutputShares
from taut.networks.output_roles import output_roles
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


def relative(side: np.ndarray) -> np.ndarray:
    return side / np.abs(side).max()


def second_moments(x: np.ndarray) -> np.ndarray:
    rows = x.reshape(-1, x.shape[-1])
    return rows.T @ rows


PRODUCTS = {  # the weight's shape, the nodes, and which axis of x the inputs lie along
    "on the left": ((4, 6), [("MatMul", "w x", {})], -2),
    "Gemm, turned": ((6, 4), [("Gemm", "x w", {"transA": 1})], 0),
    "Gemm, on the left": ((4, 6), [("Gemm", "w x", {"transB": 1})], -1),
    "half precision": ((6, 4), [("MatMul", "x w", {})], -1),
}


@pytest.mark.parametrize("kind", PRODUCTS)
def test_the_axis_that_takes_the_inputs_gets_their_moments(
    kind: str, path: Path, rng: np.random.Generator
) -> None:
    shape, [(operator, inputs, more)], axis = PRODUCTS[kind]
    half = kind == "half precision"
    x = floats(rng, 9, 6) if axis == -1 else floats(rng, 6, 9)
    w = floats(rng, *shape).astype(np.float16 if half else np.float32)
    nodes = [
        helper.make_node(operator, inputs.split(), ["h"], **more),
        helper.make_node("Cast", ["h"], ["y"], to=TensorProto.FLOAT),
    ]
    kinds = {"x": TensorProto.FLOAT16 if half else TensorProto.FLOAT}
    one = curvature(path, nodes, {"w": w}, kinds, batches=[torch.from_numpy(x)])["w"]
    side = one.rows if shape[0] == 6 else one.columns
    wanted = second_moments(np.moveaxis(x, axis, -1))
    assert np.allclose(relative(side), relative(wanted), atol=1e-2 if half else 1e-5)
    assert one.swapped == (shape[0] == 6)


def test_several_matrices_in_one_get_the_moments_along_an_inner_axis(
    path: Path, rng: np.random.Generator
) -> None:
    x = floats(rng, 3, 9, 6) * np.arange(1, 7, dtype=np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    batches = [torch.from_numpy(x)]
    one = curvature(path, nodes, {"w": floats(rng, 3, 6, 4)}, batches=batches)["w"]
    wanted = second_moments(x)
    assert np.allclose(relative(one.rows), relative(np.tile(np.diag(wanted), 3)), atol=1e-5)
    assert one.columns.shape == (4,)
    alone = curvature(path, nodes, {"w": floats(rng, 1, 6, 4)}, batches=batches)["w"]
    assert np.allclose(relative(alone.rows), relative(wanted), atol=1e-5)
    assert one.swapped and alone.swapped


def test_recurrent_weights_see_the_inputs_and_the_states(
    path: Path, rng: np.random.Generator
) -> None:
    """Also where the gates' rows are turned round on the way, as PyTorch's exporters do."""
    x = floats(rng, 5, 2, 6) * np.arange(1, 7, dtype=np.float32)
    gates = [
        helper.make_node("Slice", ["w", begin, end, "first"], [f"gate{begin}"])
        for begin, end in (("8", "16"), ("0", "8"))
    ]
    nodes = [
        *gates,
        helper.make_node("Concat", ["gate8", "gate0"], ["turned"], axis=0),
        helper.make_node("Unsqueeze", ["turned", "first"], ["gates"]),
        helper.make_node("LSTM", ["x", "gates", "r"], ["", "y"], hidden_size=4),
    ]
    weights = {"w": floats(rng, 16, 6), "r": floats(rng, 1, 16, 4), "first": np.array([0])}
    weights |= {str(number): np.array([number]) for number in (0, 8, 16)}
    found = curvature(path, nodes, weights, batches=[torch.from_numpy(x)])
    assert np.allclose(relative(found["w"].columns), relative(second_moments(x)), atol=1e-5)
    assert (found["r"].rows.shape, found["r"].columns.shape) == ((16,), (4, 4))
    assert [found[name].kind for name in "wr"] == ["recurrent", "recurrent"]
    assert all(not one.notes for one in found.values())


def test_weights_of_several_matrices_are_rounded_by_them(
    path: Path, rng: np.random.Generator
) -> None:
    """At the same size the answer is closer than without data: inputs lie in few directions."""
    x = (floats(rng, 200, 4) @ floats(rng, 4, 48) + 0.05 * floats(rng, 200, 48)).reshape(2, 100, 48)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("RNN", ["p", "k", "r"], ["", "h"], hidden_size=40),
        helper.make_node("Add", ["h", "zero"], ["y"]),
    ]
    weights = {"w": floats(rng, 1, 48, 32), "k": floats(rng, 1, 40, 32) / 9,
               "r": floats(rng, 1, 40, 40) / 9, "zero": np.zeros(1, np.float32)}  # fmt: skip
    network(path, nodes, weights)
    original = open_network(path)[0](x)
    errors = []
    for calib in (None, [x[:, :50], x[:, 50:]]):
        packed, back = path.with_name("p.taut.safetensors"), path.with_name("back.onnx")
        taut.compress(path, packed, bits=5, calib=calib, force=True)
        taut.decompress(packed, back, force=True)
        errors.append(float((open_network(back)[0](x) - original).square().mean()))
    assert errors[1] < 0.6 * errors[0]


def test_transposed_convolutions_take_their_inputs_along_the_first_axis(
    path: Path, rng: np.random.Generator
) -> None:
    layer = torch.nn.ConvTranspose2d(4, 6, 3, stride=2, bias=False)
    nodes = [helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2])]
    batch = torch.from_numpy(floats(rng, 3, 4, 8, 8))
    weights = {"w": layer.weight.detach().numpy()}
    one = curvature(path, nodes, weights, batches=[batch])["w"]
    wanted = second_moments(np.moveaxis(batch.numpy(), 1, -1))
    assert np.allclose(relative(one.rows), relative(wanted), atol=1e-5)
    assert one.columns.shape == (6 * 9,)


@pytest.mark.parametrize(("padded", "pads"), [("UPPER", (0, 0, 1, 1)), ("LOWER", (1, 1, 0, 0))])
def test_convolutions_are_padded_to_their_inputs_size(
    padded: str, pads: tuple[int, ...], path: Path, rng: np.random.Generator
) -> None:
    batch, weights = torch.from_numpy(floats(rng, 2, 3, 8, 8)), {"w": floats(rng, 5, 3, 3, 3)}
    more: list[dict[str, object]] = [{"auto_pad": f"SAME_{padded}"}, {"pads": pads}]
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], strides=[2, 2], **m) for m in more]
    one, other = (curvature(path, [node], weights, batches=[batch])["w"] for node in nodes)
    assert np.allclose(one.columns, other.columns, rtol=1e-5)


def test_what_is_not_followed_is_named(path: Path, rng: np.random.Generator) -> None:
    nodes = [helper.make_node("Einsum", ["x", "w"], ["y"], equation="ab,bc->ac")]
    batch = torch.from_numpy(floats(rng, 9, 6))
    one = curvature(path, nodes, {"w": floats(rng, 6, 4)}, batches=[batch])["w"]
    assert one.kind == "unknown"
    assert "Einsum" in one.notes[0]
    assert one.rows[0] > 0


def test_outputs_of_changing_size_and_forbidden_classes_are_weighed(
    path: Path, rng: np.random.Generator
) -> None:
    """As of objects that are found, and of classes that a mask takes out."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("Add", ["p", "mask"], ["logits"]),
        helper.make_node("Greater", ["p", "zero"], ["more"]),
        helper.make_node("Compress", ["p", "flat"], ["found"]),
        helper.make_node("Reshape", ["more", "all"], ["flat"]),
    ]
    nodes[3:] = nodes[:2:-1]
    weights = {
        "w": floats(rng, 6, 4), "mask": np.array([[0, 0, -np.inf, 0]], np.float32),
        "zero": np.zeros(1, np.float32), "all": np.array([-1]),
    }  # fmt: skip
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
            for name in ("x", "logits", "found")]  # fmt: skip
    given = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], given)
    opsets = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    module, names = open_network(path)
    assert module.output_kind == "logits"
    found = collect_onnx(module, [torch.from_numpy(floats(rng, 9, 6))])  # type: ignore[arg-type]
    assert 0 < found[names["w"]].columns[0] < np.inf


def test_a_weight_of_the_second_output_counts(path: Path, rng: np.random.Generator) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["y"]),
        helper.make_node("MatMul", ["x", "b"], ["z"]),
    ]
    weights = {"a": floats(rng, 6, 8), "b": 9 * floats(rng, 6, 8)}
    network(path, nodes, weights)
    model = onnx.load(path)
    model.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, None))
    onnx.save(model, path)
    module, names = open_network(path)
    found = collect_onnx(module, [torch.from_numpy(floats(rng, 20, 6))])  # type: ignore[arg-type]
    # Each output's distance counts beside its own size: b, nine times as large, a 81st.
    share = found[names["a"]].columns[0] / found[names["b"]].columns[0]
    assert share == pytest.approx(81, rel=0.3)
    kinds = {"y": "features", "z": "features"}
    weighed = collect_onnx(
        module,  # type: ignore[arg-type]
        [torch.from_numpy(floats(rng, 20, 6))],
        kinds=kinds,  # type: ignore[arg-type]
        shares={"y": 1.0, "z": 0.01},
    )
    share = weighed[names["a"]].columns[0] / weighed[names["b"]].columns[0]
    assert share == pytest.approx(8100, rel=0.5)


def test_outputs_of_a_graph_are_told_by_their_values_and_chosen(
    path: Path, rng: np.random.Generator
) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["u"]),
        helper.make_node("Softmax", ["u"], ["y"]),
        helper.make_node("MatMul", ["x", "b"], ["z"]),
    ]
    network(path, nodes, {"a": 3 * floats(rng, 6, 5), "b": floats(rng, 6, 8)})
    model = onnx.load(path)
    model.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, None))
    onnx.save(model, path)
    module, names = open_network(path)
    data = [torch.from_numpy(floats(rng, 64, 6))]
    found = output_roles(module, data)
    assert {place: one.kind for place, one in found.items()} == {
        "y": "probabilities",
        "z": "features",
    }
    chosen = output_roles(module, data, shares=OutputShares({"1": 2.0}, 0.0))
    assert [(place, one.share) for place, one in chosen.items()] == [("z", 2.0), ("y", 0.0)]
    with pytest.raises(ArgumentError, match='no output "w"'):
        output_roles(module, data, shares=OutputShares({"w": 1.0}))
    only_z = OutputShares({"z": 1.0}, 0.0)
    assert len(output_roles(module, data, shares=only_z, matrices=[names["b"]])) == 2
    with pytest.raises(ArgumentError, match="output z: no matrix that is rounded leads to it"):
        output_roles(module, data, shares=only_z, matrices=[names["a"]])


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
        record.curvatures(made, lambda _: made)
    with Findings(Journal.open(tmp_path / "out", {"model": "m"}, resume=True)) as record:
        found = record.curvatures(made, lambda _: {})
    assert [found[name].swapped for name in "ab"] == [True, False]
