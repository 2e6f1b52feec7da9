"""Weights of an .onnx that lie in constants, subgraphs and functions: fed, and watched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from taut.analysis.onnx_curvature import collect_onnx

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from taut.networks.onnx_network import open_network  # noqa: E402
from taut.networks.onnx_session import open_session  # noqa: E402

OPSETS = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
W = {name: number for number, name in enumerate("abcd", 1)}


def weight(name: str) -> np.ndarray:
    """A matrix (6, 6) of its own for each name."""
    rng = np.random.default_rng(W[name])
    return rng.standard_normal((6, 6)).astype(np.float32) / 3


def tensor(name: str, called: str = "") -> onnx.TensorProto:
    return numpy_helper.from_array(weight(name), called or name)


def constant(name: str, called: str = "") -> onnx.NodeProto:
    return helper.make_node("Constant", [], [called or name], value=tensor(name))


def node(kind: str, inputs: str, output: str, **more: object) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), output.split(), **more)


def info(name: str, kind: int = TensorProto.FLOAT, shape: object = None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def save(path: Path, nodes: list[onnx.NodeProto], held: str = "", **more: object) -> Path:
    graph = helper.make_graph(
        nodes, "g", [info("x", shape=["n", 6])], [info("y")], [tensor(name) for name in held]
    )
    model = helper.make_model(graph, opset_imports=OPSETS, ir_version=9, **more)
    onnx.save(model, path)
    return path


def positive(name: str) -> list[onnx.NodeProto]:
    """Whether x's sum is positive, as `name`."""
    zero = helper.make_node("Constant", [], ["zero"], value_float=0.0)
    return [zero, node("ReduceSum", "x", "sum", keepdims=0), node("Greater", "sum zero", name)]


def branches(path: Path) -> Path:
    """An If in an If: a is the outer graph's, b and c are branches' own, d is in the inner one."""
    deep = [constant("d"), node("MatMul", "h d", "z")]
    inner = helper.make_graph(deep, "deep", [], [info("z")])
    plain = helper.make_graph([node("Identity", "h", "z")], "plain", [], [info("z")])
    then = helper.make_graph(
        [
            node("MatMul", "x a", "p"),
            node("MatMul", "p w", "q"),
            node("Tanh", "q", "h"),
            node("If", "more", "r", then_branch=inner, else_branch=plain),
        ],
        "then", [], [info("r")], [tensor("b", "w")],
    )  # fmt: skip
    other = helper.make_graph([node("MatMul", "x w", "r2")], "other", [], [info("r2")],
                              [tensor("c", "w")])  # fmt: skip
    nodes = [*positive("more"), node("If", "more", "y", then_branch=then, else_branch=other)]
    return save(path, nodes, "a")


def loop(path: Path) -> Path:
    """Three steps of h = tanh(h a + x b), with a of the outer graph and b the body's."""
    body = helper.make_graph(
        [
            node("MatMul", "h a", "p"), node("MatMul", "x b", "q"), node("Add", "p q", "s"),
            node("Tanh", "s", "next"), node("Identity", "go", "on"),
        ],
        "body", [info("i", TensorProto.INT64, []), info("go", TensorProto.BOOL, []), info("h")],
        [info("on", TensorProto.BOOL, []), info("next")], [tensor("b")],
    )  # fmt: skip
    nodes = [
        helper.make_node("Constant", [], ["steps"], value_int=3),
        node("Identity", "x", "start"),
        helper.make_node("Loop", ["steps", "", "start"], ["y"], body=body),
    ]
    return save(path, nodes, "a")


def scan(path: Path) -> Path:
    """Over the rows of x: h = tanh(h a + row b)."""
    body = helper.make_graph(
        [
            node("MatMul", "h a", "p"), node("MatMul", "row b", "q"), node("Add", "p q", "s"),
            node("Tanh", "s", "next"), node("Identity", "next", "out"),
        ],
        "body", [info("h", shape=[6]), info("row", shape=[6])],
        [info("next", shape=[6]), info("out", shape=[6])], [tensor("b")],
    )  # fmt: skip
    zeros = numpy_helper.from_array(np.zeros(6, np.float32))
    nodes = [
        helper.make_node("Constant", [], ["zeros"], value=zeros),
        node("Scan", "zeros x", "last y", body=body, num_scan_inputs=1),
    ]
    return save(path, nodes, "a")


def function(path: Path) -> Path:
    """A function that another calls, itself called twice: each has a weight of its own."""
    low = helper.make_function(
        "own", "Low", ["v", "unused"], ["o"],
        [constant("a"), node("MatMul", "v a", "p"), node("Tanh", "p", "o")], OPSETS,
    )  # fmt: skip
    high = helper.make_function(
        "own", "High", ["v"], ["o"],
        [constant("b"), node("MatMul", "v b", "p"), node("Low", "p", "o", domain="own")], OPSETS,
    )  # fmt: skip
    nodes = [node("High", "x", "h", domain="own"), node("High", "h", "y", domain="own")]
    return save(path, nodes, functions=[low, high])


def passed_on(path: Path) -> Path:
    """Constants, one of which comes through an Identity, and two of which have one node name."""
    nodes = [constant("a"), constant("b"), node("Identity", "b", "same"),
             node("MatMul", "x a", "h"), node("MatMul", "h same", "y")]  # fmt: skip
    nodes[0].name = nodes[1].name = "twin"
    return save(path, nodes)


MODELS = {
    branches: {"a", "y/then_branch/w", "y/else_branch/w", "y/then_branch/r/then_branch/d"},
    loop: {"a", "y/body/b"},
    scan: {"a", "last/body/b"},
    function: {"own:Low/a", "own:High/b"},
    passed_on: {"a", "b"},
}


def rows(rng: np.random.Generator) -> np.ndarray:
    """Inputs whose sum is positive."""
    return np.abs(rng.standard_normal((5, 6))).astype(np.float32)


@pytest.mark.parametrize("make", MODELS)
def test_weights_are_fed_wherever_they_lie(make: object, tmp_path: Path) -> None:
    path = make(tmp_path / "m.onnx")  # type: ignore[operator]
    module, names = open_network(path)
    assert {name for name in names if "zeros" not in name} == MODELS[make]  # type: ignore[index]
    session, x = open_session(path), rows(np.random.default_rng(0))
    for batch in (x, -x):
        (wanted,) = session.run(None, {"x": batch})
        assert np.allclose(module(torch.from_numpy(batch)), wanted, atol=1e-6)
    both = torch.from_numpy(x), torch.from_numpy(-x)
    before = [module(batch) for batch in both]
    for parameter in names.values():
        held = module.get_parameter(parameter)
        kept = held.data
        held.data = kept + 0.1
        changed = [not torch.equal(module(b), y) for b, y in zip(both, before, strict=True)]
        assert any(changed)
        held.data = kept


def test_inputs_are_seen_within_subgraphs(tmp_path: Path) -> None:
    """Of the branch that was taken; of the other nothing is known, and nothing is told."""
    module, names = open_network(branches(tmp_path / "m.onnx"))
    x = rows(np.random.default_rng(0))
    found = collect_onnx(module, [torch.from_numpy(x)])
    both = collect_onnx(module, [torch.from_numpy(x), torch.from_numpy(-x[:3])])
    assert both[names["a"]].positions == 5  # it is given x in one branch alone
    assert both[names["y/else_branch/w"]].positions == 3
    forms = {tensor: found[name] for tensor, name in names.items() if name in found}
    assert forms.keys() == names.keys() - {"y/else_branch/w"}
    p = x @ weight("a")
    h = np.tanh(p @ weight("b"))
    for name, given in (("a", x), ("y/then_branch/w", p), ("y/then_branch/r/then_branch/d", h)):
        assert np.allclose(forms[name].rows, given.T @ given / 5, atol=1e-5)
        assert (forms[name].kind, forms[name].swapped) == ("linear", True)


def test_inputs_are_seen_in_each_step_of_a_loop(tmp_path: Path) -> None:
    module, names = open_network(loop(tmp_path / "m.onnx"))
    x = rows(np.random.default_rng(0))
    found = collect_onnx(module, [torch.from_numpy(x)])
    states = [x]
    for _ in range(2):
        states.append(np.tanh(states[-1] @ weight("a") + x @ weight("b")))
    seen = np.concatenate(states)
    assert np.allclose(found[names["a"]].rows, seen.T @ seen / 15, atol=1e-5)
    assert np.allclose(found[names["y/body/b"]].rows, x.T @ x / 5, atol=1e-5)


def test_values_that_grow_from_step_to_step_are_told_of(tmp_path: Path) -> None:
    """Two steps of h = [h; tanh(h a)]: a sees 5 rows, then 10, which no runtime stacks."""
    body = helper.make_graph(
        [
            node("Identity", "h", "same"), node("MatMul", "same a", "p"), node("Tanh", "p", "t"),
            node("Concat", "h t", "next", axis=0), node("Identity", "go", "on"),
        ],
        "body", [info("i", TensorProto.INT64, []), info("go", TensorProto.BOOL, []), info("h")],
        [info("on", TensorProto.BOOL, []), info("next")],
    )  # fmt: skip
    nodes = [
        helper.make_node("Constant", [], ["steps"], value_int=2),
        node("MatMul", "x b", "start"),
        helper.make_node("Loop", ["steps", "", "start"], ["y"], body=body),
    ]
    module, names = open_network(save(tmp_path / "m.onnx", nodes, "ab"))
    x = rows(np.random.default_rng(0))
    found = collect_onnx(module, [torch.from_numpy(x)])
    one = found[names["a"]]
    assert (one.kind, one.rows[0] > 0) == ("unknown", True)
    assert "within Loop" in one.notes[0]
    assert np.allclose(found[names["b"]].rows, x.T @ x / 5, atol=1e-5)


def test_inputs_are_seen_in_each_step_of_a_scan(tmp_path: Path) -> None:
    module, names = open_network(scan(tmp_path / "m.onnx"))
    x = rows(np.random.default_rng(0))
    found = collect_onnx(module, [torch.from_numpy(x)])
    assert np.allclose(found[names["last/body/b"]].rows, x.T @ x / 5, atol=1e-5)
    assert found[names["a"]].positions == 5


def test_a_functions_weight_sees_what_every_call_hands_to_it(tmp_path: Path) -> None:
    module, names = open_network(function(tmp_path / "m.onnx"))
    x = rows(np.random.default_rng(0))
    found = collect_onnx(module, [torch.from_numpy(x)])
    h = np.tanh(x @ weight("b") @ weight("a"))
    both = np.concatenate([x, h])
    assert np.allclose(found[names["own:High/b"]].rows, both.T @ both / 10, atol=1e-5)


def test_values_of_subgraphs_in_other_files_are_found(tmp_path: Path) -> None:
    path = branches(tmp_path / "m.onnx")
    x = rows(np.random.default_rng(0))
    wanted = open_session(path).run(None, {"x": x})[0]
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="w.data", size_threshold=0,
              convert_attribute=True)  # fmt: skip
    module, _ = open_network(path)
    assert np.allclose(module(torch.from_numpy(x)), wanted, atol=1e-6)


@pytest.mark.parametrize("place", ["graph", "input", "constant", "branch"])
def test_weights_in_bfloat16_are_fed(place: str, tmp_path: Path) -> None:
    """They come as float32, and are cast: no array that onnxruntime takes has them."""
    held = helper.make_tensor("w", TensorProto.BFLOAT16, (6, 6), weight("a").ravel())
    inputs, tensors = [info("x", shape=["n", 6])], [held] if place in ("graph", "input") else []
    nodes = [node("Cast", "w", "wide", to=1), node("MatMul", "x wide", "y")]
    if place == "input":
        inputs.append(info("w", TensorProto.BFLOAT16, [6, 6]))
    elif place == "constant":
        nodes.insert(0, helper.make_node("Constant", [], ["w"], value=held))
    elif place == "branch":
        then = helper.make_graph(nodes, "then", [], [info("y")], [held])
        other = helper.make_graph([node("Relu", "x", "z")], "else", [], [info("z")])
        made = helper.make_node("If", ["truth"], ["y"], then_branch=then, else_branch=other)
        nodes = [*positive("truth"), made]
    graph = helper.make_graph(nodes, "g", inputs, [info("y")], tensors)
    path, x = tmp_path / "net.onnx", np.ones((2, 6), np.float32)
    onnx.save(helper.make_model(graph, opset_imports=OPSETS, ir_version=9), path)
    wanted = open_session(path).run(None, {"x": x})[0]
    network, names = open_network(path)
    assert np.array_equal(network(torch.from_numpy(x)).numpy(), wanted)
    (name,) = names.values()
    with torch.no_grad():
        getattr(network, name).mul_(2)
    again = network(torch.from_numpy(x)).numpy()
    assert np.allclose(again, 2 * wanted)
