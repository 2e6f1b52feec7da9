"""Graphs of every kind that producers write, in every form: the answers of the floats, in less."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from tests.thorough import sample

pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
ort = pytest.importorskip("onnxruntime")

from taut.errors import ArgumentError, VerifyError  # noqa: E402
from taut.exporting.onnx.bodies import graphs  # noqa: E402
from taut.exporting.onnx.onnx_form import OnnxForm  # noqa: E402
from taut.exporting.onnx.write import export_graph  # noqa: E402

_spec = importlib.util.spec_from_file_location(
    "onnx_graphs", Path(__file__).with_name("onnx_graphs.py")
)
made = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(made)

FORMS = {
    "float16": (OnnxForm(weights="float16"), 0.002),
    "none": (OnnxForm(activations="none"), 0.02),
    "dynamic": (OnnxForm(activations="dynamic"), 0.04),
    "static": (OnnxForm(), 0.04),
    "int4": (OnnxForm(weights="int4", group_size=16), 0.25),
}
STAY = {"an output": ("w", "u"), "added too": ("w",)}  # weights that no form may touch


def export(graph, folder, form, **given):
    path = made.save(graph, folder / "floats.onnx")
    return export_graph(path, given.pop("batches", made.batches(graph)), folder / "m.onnx", form)


def held(path):
    """All constants of a file, at any depth, by name."""
    to_array = onnx.numpy_helper.to_array
    graph = onnx.load(path).graph
    return {t.name: to_array(t) for one in graphs(graph) for t in one.initializer}


@pytest.mark.parametrize("form", sample(list(FORMS), "some forty graphs a form", keep=3))
@pytest.mark.parametrize("kind", made.KINDS)
def test_every_kind_answers_as_in_floats_and_its_weights_are_small(tmp_path, kind, form):
    graph = made.KINDS[kind]()
    asked, most = FORMS[form]
    found = export(graph, tmp_path, asked)
    assert found.check.relative < most
    large = {n: v for n, v in held(found.path).items() if v.ndim >= 2 and v.size >= 512}
    floats = [n for n, v in large.items() if v.dtype == np.float32]
    assert sorted(floats) == sorted(STAY.get(kind, ()))
    for name in floats:
        assert any(name in note and "stays float" in note for note in found.notes)
    integers = [v for v in large.values() if v.dtype == np.int8 and "v_quantized" not in large]
    assert all(values.min() >= -127 for values in integers)
    onnx.checker.check_model(onnx.load(found.path), full_check=form == "none")


def test_names_that_are_taken_are_left_to_those_that_have_them(tmp_path):
    graph = made.KINDS["names collide"]()
    found = export(graph, tmp_path, OnnxForm(activations="dynamic"))
    values = held(found.path)
    assert values["w_scale"] == np.float32(200) and values["w"].dtype == np.int8
    assert values["w_scale_1"].shape == (16,)


def test_a_weight_of_two_uses_is_there_once_where_its_rows_are_the_same(tmp_path):
    graph = made.one(
        [made.node("Gather", "w rows", "h", axis=0), made.node("Gemm", "h w", "y", transB=1)],
        {"w": made.weight(32, 32)},
        x=(5,),
    )
    graph.graph.input[0].CopyFrom(made.value("rows", 5, kind=made.INT))
    found = export(graph, tmp_path, OnnxForm())
    assert sum(v.nbytes for v in held(found.path).values() if v.size == 1024) == 1024


def test_bodies_run_their_integers_with_either_branch(tmp_path):
    graph = made.KINDS["if"]()
    found = export(graph, tmp_path, OnnxForm(activations="dynamic"))
    sessions = [ort.InferenceSession(tmp_path / name) for name in ("floats.onnx", "m.onnx")]
    x = np.random.default_rng(3).standard_normal((6, 32)).astype(np.float32)
    answers = [[s.run(None, {"x": x, "flag": np.array(f)})[0] for f in (True, False)]
               for s in sessions]  # fmt: skip
    assert np.allclose(*answers, atol=0.1)
    assert not np.allclose(answers[0][0], answers[0][1], atol=0.5)
    held_in = [one for one in graphs(onnx.load(found.path).graph)]
    assert all(not one.initializer for one in held_in[1:])


@pytest.mark.parametrize("form", FORMS)
def test_a_graph_without_weights_is_refused_with_its_operators(tmp_path, form):
    graph = made.one([made.node("Softplus", "x", "h"), made.node("Floor", "h", "y")], {})
    with pytest.raises(ArgumentError, match=r"no weights.*Floor, Softplus"):
        export(graph, tmp_path, FORMS[form][0])
    assert not (tmp_path / "m.onnx").exists()


DOUBLE = onnx.TensorProto.DOUBLE
ODD = {
    "of doubles": (
        made.model(
            [made.node("MatMul", "x w", "y")],
            [made.value("x", 4, 32, kind=DOUBLE)],
            [made.value("y", None, None, kind=DOUBLE)],
            {"w": made.weight(32, 32, kind=np.float64)},
        ),
        "w: .*float64",
    ),
    "an output": (
        made.model(
            [made.node("MatMul", "x w", "y")],
            [made.value("x", 4, 32)],
            [made.value("y", None, None), made.value("w", 32, 32)],
            {"w": made.weight(32, 32)},
        ),
        "w: .*output",
    ),
    "taken by another": (
        made.one([made.node("Mul", "x w", "y")], {"w": made.weight(4, 32)}),
        "w: .*Mul",
    ),
    "small": (
        made.one([made.node("MatMul", "x w", "y")], {"w": made.weight(32, 1)}),
        "MatMul.* 64",
    ),
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("form", FORMS)
def test_what_keeps_all_weights_of_a_graph_float_is_named(tmp_path, form, kind):
    graph, told = ODD[kind]
    x = np.ones((4, 32), np.float64 if kind == "of doubles" else np.float32)
    with pytest.raises(ArgumentError, match=f"no weights.*{told}"):
        export(graph, tmp_path, FORMS[form][0], batches=[{"x": x}])
    assert not (tmp_path / "m.onnx").exists()


def test_halves_of_tiny_values_stay_float(tmp_path):
    graph = made.one(
        [made.node("MatMul", "x w", "h"), made.node("MatMul", "h v", "y")],
        {"w": made.weight(32, 32) * np.float32(1e-7), "v": made.weight(32, 16)},
    )
    found = export(graph, tmp_path, OnnxForm(weights="float16"))
    assert any(note.startswith("w: stays float") for note in found.notes)
    assert found.check.relative < 0.002 and held(found.path)["v"].dtype == np.float16


def test_weights_that_are_not_finite_stay_as_they_are(tmp_path):
    graph = made.KINDS["constants"]()
    values = made.weight(32, 16)
    values[3, 4] = -np.inf
    graph.graph.initializer[0].CopyFrom(made.tensor("v", values))
    found = export(graph, tmp_path, OnnxForm(activations="none"))
    assert "v: stays float (it has values that are not finite)" in found.notes


def test_a_batch_that_onnxruntime_does_not_take_is_told_with_its_shapes(tmp_path):
    graph = made.model(
        [made.node("MatMul", "x w", "y")], [made.value("x", "n", 32)],
        [made.value("y", None, None)], {"w": made.weight(32, 16)},
    )  # fmt: skip
    with pytest.raises(ArgumentError, match=r"x: float32 \[4, 31\]"):
        export(graph, tmp_path, OnnxForm(), batches=[{"x": np.zeros((4, 31), np.float32)}])


def test_batches_of_another_size_than_the_graph_fixes_are_left_out(tmp_path):
    graph = made.KINDS["constants"]()
    given = [*made.batches(graph), {"x": np.zeros((3, 32), np.float32)}]
    found = export(graph, tmp_path, OnnxForm(), batches=given)
    assert any("1 of 3 batches left out" in note and '"x" 4' in note for note in found.notes)
    (tmp_path / "again").mkdir()
    with pytest.raises(ArgumentError, match=r'no batch has as many samples.*"x" 4'):
        export(graph, tmp_path / "again", OnnxForm(), batches=given[2:])


def hard():
    """Two layers, the first of which takes a few values that are far larger than all others."""
    graph = made.one(
        [made.node("MatMul", "x w", "h"), made.node("Tanh", "h", "t"),
         made.node("MatMul", "t v", "y")],
        {"w": made.weight(32, 32), "v": made.weight(32, 16)}, x=(64, 32),
    )  # fmt: skip
    batch = made.batches(graph, 1)[0]
    batch["x"][::16, 0] *= 2000
    return graph, [batch]


def test_where_static_integers_miss_too_much_the_worst_layer_stays_float(tmp_path):
    graph, batches = hard()
    found = export(graph, tmp_path, OnnxForm(), batches=batches)
    assert found.check.of_range <= 0.1
    values = held(found.path)
    assert values["w"].dtype == np.int8 and values["v"].dtype == np.int8
    note = next(note for note in found.notes if note.startswith("largest error"))
    assert "percentile" in note and "1 of 2 layers take float activations: w" in note


def test_a_large_error_of_a_form_without_bound_is_told_with_what_helps(tmp_path):
    graph = made.model(
        [made.node("Gather", "w rows", "h"), made.node("MatMul", "h v", "y")],
        [made.value("rows", 8, kind=made.INT)], [made.value("y", None, None)],
        {"w": made.weight(32, 32), "v": made.weight(32, 16)},
    )  # fmt: skip
    table = made.weight(32, 32)
    table[:, 0] = -50  # beside it all others of a row are one step or none
    graph.graph.initializer[0].CopyFrom(made.tensor("w", table))
    values = made.weight(32, 16)
    values[0] = 0
    graph.graph.initializer[1].CopyFrom(made.tensor("v", values))
    found = export(graph, tmp_path, OnnxForm(activations="none"))
    told = [note for note in found.notes if "--max-error" in note]
    assert len(told) == 1 and f"off by {found.check.of_range:.2g} of" in told[0]
    (tmp_path / "b").mkdir()
    bounded = export(graph, tmp_path / "b", OnnxForm(activations="none", max_error=0.05))
    assert held(bounded.path)["w"].dtype == np.float32
    assert held(bounded.path)["v"].dtype == np.int8


def test_a_bound_holds_for_any_form_and_one_that_cannot_be_had_is_refused(tmp_path):
    graph = made.KINDS["constants"]()
    found = export(graph, tmp_path, OnnxForm(weights="int4", group_size=16, max_error=0.07))
    assert found.check.of_range <= 0.07
    assert any("1 of 2 weights stay float" in note for note in found.notes)
    (tmp_path / "again").mkdir()
    with pytest.raises(VerifyError, match=r"--max-error.*no layer .* within 1e-09"):
        export(graph, tmp_path / "again", OnnxForm(max_error=1e-9))
    assert not (tmp_path / "again" / "m.onnx").exists()
    with pytest.raises(ArgumentError, match="max_error: 0 is no bound"):
        OnnxForm(max_error=0)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_answers_that_are_never_finite_prove_nothing(tmp_path, form, value):
    graph = made.one([made.node("MatMul", "x w", "y")], {"w": made.weight(32, 32)})
    x = np.full((4, 32), value, np.float32)
    with pytest.raises(ArgumentError, match=r"calibration: .*look at the data"):
        export(graph, tmp_path, FORMS[form][0], batches=[{"x": x}])
    assert not (tmp_path / "m.onnx").exists()


@pytest.mark.parametrize("kind", ["matrix", "convolution"])
def test_what_was_always_zero_in_calibration_is_no_range(tmp_path, kind):
    """As a first state is: later ones would be clipped to nothing."""
    if kind == "matrix":
        shape, op, w = (4, 32), "MatMul", made.weight(32, 32)
        layer = made.node(op, "state w", "h")
    else:
        shape, w = (2, 8, 6, 6), made.weight(8, 8, 3, 3)
        layer = made.node("Conv", "state w b", "h", pads=[1, 1, 1, 1])
    graph = made.model(
        [layer, made.node("Relu", "h", "r"), made.node("Add", "x r", "y")],
        [made.value("x", *shape), made.value("state", *shape)],
        [made.value("y", *[None] * len(shape))],
        {"w": w, "b": np.zeros(8, np.float32)},
    )
    rng = np.random.default_rng(0)
    given = {name: rng.standard_normal(shape).astype(np.float32) for name in ("x", "state")}
    still = {**given, "state": np.zeros(shape, np.float32)}
    found = export(graph, tmp_path, OnnxForm(), batches=[still])
    assert any(note.startswith("state: always zero") for note in found.notes)
    files = ("floats.onnx", "m.onnx")
    wanted, ours = (ort.InferenceSession(tmp_path / f).run(None, given)[0] for f in files)
    assert np.abs(wanted - ours).max() < 0.05 * np.abs(wanted).max()


@pytest.mark.parametrize("form", FORMS)
def test_values_in_another_file_need_no_length(tmp_path, form):
    graph = made.one(
        [made.node("MatMul", "x w", "h"), made.node("MatMul", "h v", "y")],
        {"w": made.weight(32, 32), "v": made.weight(32, 32, seed=1)},
    )
    wanted = {t.name: onnx.numpy_helper.to_array(t) for t in graph.graph.initializer}
    (tmp_path / "w.bin").write_bytes(b"".join(one.tobytes() for one in wanted.values()))
    for number, tensor in enumerate(graph.graph.initializer):
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, text in (("location", "w.bin"), ("offset", str(4096 * number))):
            tensor.external_data.add(key=key, value=text)
    asked, most = FORMS[form]
    assert export(graph, tmp_path, asked).check.relative < most
