"""Small graphs as other producers write them: a kind of weight each, or of its use."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, HALF, INT = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64


def value(name, *shape, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def node(operator, inputs, outputs, **given):
    return helper.make_node(operator, inputs.split(), outputs.split(), **given)


def tensor(name, values):
    return numpy_helper.from_array(np.asarray(values), name)


def weight(*shape, seed=0, kind=np.float32):
    found = np.random.default_rng(seed).standard_normal(shape)
    return (found / np.sqrt(shape[-1])).astype(kind)


def held_as_node(name, values):
    return helper.make_node("Constant", [], [name], value=tensor(f"{name}_held", values))


def model(nodes, inputs, outputs, held=None, opset=17, version=8):
    found = [tensor(name, values) for name, values in (held or {}).items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, found)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=version)


def one(nodes, held, x=(4, 32), out=None, **given):
    """A graph from x to y."""
    return model(nodes, [value("x", *x)], [value("y", *(out or [None] * len(x)))], held, **given)


def _if(then, other, outputs="y"):
    made = node("If", "flag", outputs)
    for name, graph in (("then_branch", then), ("else_branch", other)):
        made.attribute.append(helper.make_attribute(name, graph))
    return made


def _branch(nodes, held=None):
    found = [tensor(name, values) for name, values in (held or {}).items()]
    return helper.make_graph(nodes, "b", [], [value("y_inner", None, None)], found)


def body_of_if():
    """Both branches have a weight of their own under one name, and use one of the outer graph's."""
    branches = []
    for seed in (1, 2):
        nodes = [
            node("MatMul", "x own", "h"),
            node("Identity", "outer", "outer_again"),
            node("MatMul", "h outer_again", "y_inner"),
        ]
        branches.append(_branch(nodes, {"own": weight(32, 32, seed=seed)}))
    return model(
        [_if(*branches)],
        [value("x", "n", 32), value("flag", kind=TensorProto.BOOL)],
        [value("y", None, None)],
        {"outer": weight(32, 16)},
    )


def body_of_constants():
    """Branches that hold their weights as Constant nodes, under one name."""
    branches = [
        _branch([held_as_node("w", weight(32, 16, seed=seed)), node("MatMul", "x w", "y_inner")])
        for seed in (3, 4)
    ]
    return model(
        [_if(*branches)],
        [value("x", "n", 32), value("flag", kind=TensorProto.BOOL)],
        [value("y", None, None)],
    )


def _loop(operator):
    """Three steps whose body multiplies by an outer weight and by its own."""
    nodes = [
        node("MatMul", "state_in outer", "h"),
        node("Tanh", "h", "t"),
        node("MatMul", "t own", "state_out"),
        node("Identity", "state_out", "seen"),
    ]
    states = [value("state_out", None, None), value("seen", None, None)]
    held = [tensor("own", weight(32, 32, seed=5))]
    outer = {"outer": weight(32, 32)}
    if operator == "Loop":
        inputs = [value("i", kind=INT), value("go_in", kind=TensorProto.BOOL)]
        body = helper.make_graph(
            [node("Identity", "go_in", "go"), *nodes],
            "b",
            [*inputs, value("state_in", None, None)],
            [value("go", kind=TensorProto.BOOL), *states],
            held,
        )
        made = helper.make_node("Loop", ["count", "", "x"], ["y", "all"], body=body)
        return one([made], {"count": np.array(3), **outer}, x=("n", 32))
    body = helper.make_graph(
        nodes, "b", [value("state_in", None, None), value("step", None)], states, held
    )
    made = helper.make_node("Scan", ["x", "steps"], ["y", "all"], body=body, num_scan_inputs=1)
    return one([made], {"steps": np.zeros((3, 2), np.float32), **outer}, x=("n", 32))


def body_takes_a_rounded_value():
    """A value between two convolutions that a branch takes too."""
    then = helper.make_graph([node("Neg", "h", "z")], "b", [], [value("z", *[None] * 4)])
    other = helper.make_graph([node("Abs", "h", "z")], "b", [], [value("z", *[None] * 4)])
    return model(
        [
            node("Conv", "x w", "c"),
            node("Relu", "c", "h"),
            node("Conv", "h v", "d"),
            _if(then, other, "e"),
            node("Add", "d e", "y"),
        ],
        [value("x", 2, 8, 6, 6), value("flag", kind=TensorProto.BOOL)],
        [value("y", *[None] * 4)],
        {"w": weight(8, 8, 1, 1), "v": weight(8, 8, 1, 1, seed=1)},
    )


def _recurrent(operator, gates):
    return one(
        [node(operator, "x w r b", "y", hidden_size=16)],
        {
            "w": weight(1, gates * 16, 32),
            "r": weight(1, gates * 16, 16, seed=1),
            "b": weight(1, gates * 32, seed=2),
        },
        x=(5, 2, 32),
        out=[None] * 4,
    )


def _gemm(**given):
    turned = given.get("transA", 0)
    shape = (16, 32) if given.get("transB") else (32, 16)
    return one(
        [node("Gemm", "x w c", "y", **given)],
        {"w": weight(*shape), "c": weight(16, seed=1)},
        x=(32, 4) if turned else (4, 32),
    )


KINDS = {
    "names collide": lambda: one(
        [node("MatMul", "x w", "h"), node("Mul", "h w_scale", "t"), node("Add", "t x_scale", "y")],
        {"w": weight(32, 16), "w_scale": np.float32(200), "x_scale": weight(16),
         "w_zero_point": np.float32(3)},
    ),
    "values collide": lambda: one(
        [
            node("MatMul", "x w", "w_floats"),
            node("Tanh", "w_floats", "x_integers"),
            node("MatMul", "x_integers v", "y_product"),
            node("Relu", "y_product", "x_rounded"),
            node("Add", "x_rounded w_wide", "y"),
        ],
        {"w": weight(32, 32), "v": weight(32, 16), "w_wide": weight(16), "v_blocks": weight(16)},
    ),
    "an output": lambda: model(
        [node("MatMul", "x w", "h"), node("MatMul", "h v", "y"), node("Identity", "u", "u_out")],
        [value("x", 4, 32)],
        [value("y", None, None), value("w", 32, 32), value("u_out", 32, 32)],
        {"w": weight(32, 32), "v": weight(32, 16), "u": weight(32, 32)},
    ),
    "an input": lambda: model(
        [node("MatMul", "x w", "y")], [value("x", 4, 32), value("w", 32, 16)],
        [value("y", None, None)], {"w": weight(32, 16)},
    ),
    "two uses": lambda: model(
        [node("Gather", "w rows", "h"), node("MatMul", "h w", "y")],
        [value("rows", 5, kind=INT)], [value("y", None, None)], {"w": weight(32, 32)},
    ),
    "turned and not": lambda: one(
        [
            node("Transpose", "w", "t", perm=[1, 0]), node("MatMul", "x w", "h"),
            node("MatMul", "h t", "k"), node("MatMul", "k t", "y"),
        ],
        {"w": weight(32, 32)},
    ),
    "added too": lambda: one(
        [node("MatMul", "x w", "h"), node("Add", "h w", "k"), node("MatMul", "k v", "y")],
        {"w": weight(32, 32), "v": weight(32, 16)}, x=(32, 32),
    ),
    "if": body_of_if,
    "constants within": body_of_constants,
    "loop": lambda: _loop("Loop"),
    "scan": lambda: _loop("Scan"),
    "rounded value within": body_takes_a_rounded_value,
    "constants": lambda: one(
        [held_as_node("w", weight(32, 32)), node("Identity", "w", "a"), node("Identity", "a", "b"),
         node("MatMul", "x b", "h"), node("MatMul", "h v", "y")],
        {"v": weight(32, 16)},
    ),
    "left": lambda: one([node("MatMul", "w x", "y")], {"w": weight(16, 32)}, x=(32, 4)),
    "left of three axes": lambda: one(
        [node("MatMul", "w x", "y")], {"w": weight(3, 16, 32)}, x=(3, 32, 4)
    ),
    "three axes": lambda: one([node("MatMul", "x w", "y")], {"w": weight(3, 32, 16)}, x=(3, 4, 32)),
    "one vector": lambda: model(
        [node("MatMul", "x w", "y")], [value("x", 32)], [value("y", None)], {"w": weight(32, 16)}
    ),
    "gemm": lambda: _gemm(alpha=0.5, beta=2.0),
    "gemm turned": lambda: _gemm(alpha=2.0, transA=1, transB=1),
    "gemm without": lambda: _gemm(beta=0.0, transB=1),
    "gemm left": lambda: one(
        [node("Gemm", "w x", "y", transA=1)], {"w": weight(32, 16)}, x=(32, 4)
    ),
    "transposed convolution": lambda: one(
        [node("ConvTranspose", "x w", "y", group=2, strides=[2, 2])],
        {"w": weight(8, 4, 3, 3)}, x=(2, 8, 5, 5),
    ),
    "grouped convolution": lambda: one(
        [node("Conv", "x w b", "h", group=4), node("Conv", "h p", "y")],
        {"w": weight(8, 2, 3, 3), "b": weight(8), "p": weight(16, 8, 1, 1)}, x=(2, 8, 5, 5),
    ),
    "two that take a convolution": lambda: one(
        [node("Conv", "x w", "h"), node("Relu", "h", "r"), node("Conv", "r v", "k"),
         node("Add", "k h", "s"), node("Relu", "s", "y")],
        {"w": weight(8, 8, 1, 1), "v": weight(8, 8, 1, 1, seed=1)}, x=(2, 8, 5, 5),
    ),
    "norms after convolutions": lambda: one(
        [
            node("Identity", "w", "w2"), node("Conv", "x w2", "c"),
            node("BatchNormalization", "c s b m q", "n"), node("Relu", "n", "r"),
            node("Conv", "r v", "d"), node("Mul", "d f", "e"), node("Add", "a e", "k"),
            node("Add", "k r", "y"),
        ],
        {
            "w": weight(8, 8, 1, 1), "v": weight(8, 8, 1, 1, seed=1), "s": weight(8, seed=2),
            "b": weight(8, seed=3), "m": weight(8, seed=4), "q": np.square(weight(8, seed=5)),
            "f": weight(8, 1, 1, seed=6), "a": weight(1, 8, 1, 1, seed=7),
        },
        x=(2, 8, 5, 5),
    ),
    "norms of others": lambda: one(
        [
            node("Conv", "x w", "c"), node("Mul", "c f", "e"), node("Add", "e c", "k"),
            node("Conv", "k w", "d"), node("Add", "d g", "y"),
        ],
        {"w": weight(8, 8, 1, 1), "f": weight(8, 1, 1), "g": weight(5)}, x=(2, 8, 5, 5),
    ),
    "lstm": lambda: _recurrent("LSTM", 4),
    "gates in another order": lambda: one(
        [
            *(held_as_node(n, np.array(v)) for n, v in
              {"n0": [0], "n16": [16], "n48": [48], "n64": [64]}.items()),
            node("Slice", "w n0 n16 n0", "a"), node("Slice", "w n16 n48 n0", "b"),
            node("Slice", "w n48 n64 n0", "c"), node("Identity", "b", "b2"),
            node("Concat", "a c b2", "joined", axis=0), node("Unsqueeze", "joined n0", "wide"),
            node("Unsqueeze", "r n0", "r2"),
            node("LSTM", "x wide r2", "y", hidden_size=16),
        ],
        {"w": weight(64, 32), "r": weight(64, 16, seed=1)}, x=(5, 2, 32), out=[None] * 4,
    ),
    "gru": lambda: _recurrent("GRU", 3),
    "half": lambda: model(
        [node("MatMul", "x w", "h"), node("Add", "h b", "y")], [value("x", 4, 32, kind=HALF)],
        [value("y", None, None, kind=HALF)],
        {"w": weight(32, 16, kind=np.float16), "b": weight(16, kind=np.float16)},
    ),
    "half table": lambda: model(
        [node("Gather", "w rows", "h"), node("Gemm", "h v b", "y")],
        [value("rows", 5, kind=INT)], [value("y", None, None, kind=HALF)],
        {"w": weight(32, 32, kind=np.float16), "v": weight(32, 16, kind=np.float16),
         "b": weight(16, kind=np.float16)},
    ),
    "half that is widened": lambda: one(
        [node("Cast", "w", "wide", to=FLOAT), node("MatMul", "x wide", "y")],
        {"w": weight(32, 16, kind=np.float16)},
    ),
    "table alone": lambda: model(
        [node("Gather", "w rows", "y")], [value("rows", 5, kind=INT)],
        [value("y", None, None)], {"w": weight(32, 32)},
    ),
    "table of three axes": lambda: model(
        [node("Gather", "w rows", "y")], [value("rows", 5, kind=INT)],
        [value("y", None, None, None)], {"w": weight(32, 4, 32)},
    ),
    "columns of a table": lambda: model(
        [node("Gather", "w rows", "y", axis=1)], [value("rows", 5, kind=INT)],
        [value("y", None, None)], {"w": weight(32, 32)},
    ),
    "resize": lambda: one(
        [node("Conv", "x w", "h"), helper.make_node("Resize", ["h", "", "", "sizes"], ["k"]),
         helper.make_node("Resize", ["k", "", "scales"], ["y"], mode="linear")],
        {"w": weight(8, 8, 3, 3), "sizes": np.array([2, 8, 10, 10]),
         "scales": np.array([1, 1, 1.1, 1.1], np.float32)}, x=(2, 8, 7, 7),
    ),
    "resize of empty scales": lambda: one(
        [node("Conv", "x w", "h"), node("Resize", "h empty empty sizes", "y")],
        {"w": weight(8, 8, 3, 3), "sizes": np.array([2, 8, 10, 10]),
         "empty": np.zeros(0, np.float32)}, x=(2, 8, 7, 7), opset=11,
    ),
    "an old graph": lambda: one(
        [node("Conv", "x w", "h"), node("Unsqueeze", "h", "k", axes=[0]),
         node("Squeeze", "k", "y", axes=[0])],
        {"w": weight(8, 8, 3, 3)}, x=(2, 8, 7, 7), opset=9, version=4,
    ),
    "an old graph whose constants are no inputs": lambda: one(
        [node("Conv", "x w", "y")], {"w": weight(8, 8, 3, 3)}, x=(2, 8, 7, 7), opset=8, version=3,
    ),
    "a shape that is asked for": lambda: one(
        [node("MatMul", "x w", "h"), node("Shape", "w", "s"), node("Size", "w", "z"),
         node("Cast", "z", "c", to=1), node("Div", "h c", "d"), node("Reshape", "d s", "y")],
        {"w": weight(32, 32)}, x=(32, 32),
    ),
    "a map": lambda: model(
        [node("MatMul", "x w", "h"), node("Softmax", "h", "p"),
         node("ZipMap", "p", "y", domain="ai.onnx.ml", classlabels_int64s=list(range(16)))],
        [value("x", 4, 32)],
        [helper.make_value_info("y", helper.make_sequence_type_proto(
            helper.make_map_type_proto(INT, helper.make_tensor_type_proto(FLOAT, []))))],
        {"w": weight(32, 16)},
    ),
    "a sequence and numbers": lambda: model(
        [node("MatMul", "x w", "h"), node("SplitToSequence", "h", "y", axis=0),
         node("ArgMax", "h", "best", axis=1)],
        [value("x", 4, 32)],
        [helper.make_value_info("y", helper.make_sequence_type_proto(
            helper.make_tensor_type_proto(FLOAT, None))), value("best", None, None, kind=INT)],
        {"w": weight(32, 16)},
    ),
    "rounded in part": lambda: one(
        [
            node("QuantizeLinear", "x x_scale x_zero_point", "x_quantized"),
            node("DequantizeLinear", "x_quantized x_scale x_zero_point", "x_dequantized"),
            node("DequantizeLinear", "v_quantized v_scale v_zero_point", "v_dequantized"),
            node("MatMul", "x_dequantized v_dequantized", "h"),
            node("MatMul", "h w", "y"),
        ],
        {"x_scale": np.float32(0.04), "x_zero_point": np.uint8(128),
         "v_quantized": np.arange(1024, dtype=np.int8).reshape(32, 32),
         "v_scale": np.float32(0.01), "v_zero_point": np.int8(0), "w": weight(32, 16)},
    ),
    "functions": lambda: _function(),
}  # fmt: skip


def _function():
    found = one([node("Layer", "x w", "y", domain="own")], {"w": weight(32, 16)})
    inner = [node("MatMul", "a b", "h"), node("Relu", "h", "c")]
    opsets = [helper.make_opsetid("", 17)]
    found.functions.append(helper.make_function("own", "Layer", ["a", "b"], ["c"], inner, opsets))
    found.opset_import.append(helper.make_opsetid("own", 1))
    return found


def batches(graph, count=2, seed=0):
    """Batches of a graph's inputs, as it takes them."""
    rng = np.random.default_rng(seed)
    held = {entry.name for entry in graph.graph.initializer}
    found = []
    for index in range(count):
        batch = {}
        for entry in graph.graph.input:
            kind = entry.type.tensor_type.elem_type
            shape = [dim.dim_value or 4 for dim in entry.type.tensor_type.shape.dim]
            if entry.name in held:
                continue
            if kind == TensorProto.BOOL:
                batch[entry.name] = np.array(bool(index % 2))
            elif kind == INT:
                batch[entry.name] = rng.integers(0, 32, shape)
            else:
                batch[entry.name] = rng.standard_normal(shape).astype(
                    np.float16 if kind == HALF else np.float32
                )
        found.append(batch)
    return found


def save(graph, path):
    onnx.save(graph, path)
    return path
