"""Modules become ONNX files whose integers are the tensors' own, and run as the modules did."""

import copy
import sys
import types

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
ort = pytest.importorskip("onnxruntime")

import taut  # noqa: E402
from taut.errors import ArgumentError, VerifyError  # noqa: E402
from taut.exporting.onnx.blocks import packed, packed_zeros  # noqa: E402
from taut.exporting.onnx.check import check_onnx  # noqa: E402
from taut.exporting.onnx.graph import arrays  # noqa: E402
from taut.exporting.onnx.onnx_form import OnnxForm  # noqa: E402
from taut.exporting.onnx.trace import Traced, trace  # noqa: E402
from taut.exporting.onnx.write import export_onnx  # noqa: E402
from taut.networks.onnx_module import open_onnx  # noqa: E402

EXPORT = sys.modules["taut.exporting.onnx.write"]


class Small(torch.nn.Module):
    """Convolutions with norms and a residual sum, then a linear layer."""

    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(16)
        self.conv2 = torch.nn.Conv2d(16, 16, 3, padding=1, bias=False)
        self.bn2 = torch.nn.BatchNorm2d(16)
        self.linear = torch.nn.Linear(16, 10)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(x + self.bn2(self.conv2(x)))
        return self.linear(x.mean((2, 3)))


class Encoder(torch.nn.Module):
    """Tokens to states and a pooled vector, given by name."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(50, 64)
        self.query = torch.nn.Linear(64, 64)
        self.key = torch.nn.Linear(64, 64, bias=False)
        self.norm = torch.nn.LayerNorm(64)
        self.out = torch.nn.Linear(64, 24)

    def forward(self, input_ids, attention_mask):
        x = self.embedding(input_ids)
        scores = self.query(x) @ self.key(x).transpose(1, 2) / 8
        scores = scores.masked_fill(attention_mask[:, None, :] == 0, -1e4)
        x = self.norm(x + scores.softmax(-1) @ x)
        return {"states": x, "pooled": self.out(x.mean(1))}


def on_grid(weight, bits, group=None):
    """Put a weight on a grid of known integers, a scale a row (or group); the integers."""
    half = 1 << (bits - 1)
    rows = weight.shape[0]
    blocks = (rows, -1) if group is None else (rows, weight[0].numel() // group, group)
    q = torch.randint(-half + 1, half, weight.shape).reshape(blocks)
    q[..., 0], q[..., 1] = half - 1, half - 2  # neighbours share no divisor: the scale is told
    scale = torch.rand(*q.shape[:-1], 1) * 0.01 + 0.001
    weight.data = (q * scale).reshape(weight.shape)
    return q.reshape(weight.shape).numpy()


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    module = Small().eval()
    for norm in (module.bn1, module.bn2):
        norm.weight.data.uniform_(0.5, 2)
        norm.bias.data.normal_(0, 0.3)
        norm.running_mean.normal_(0, 0.3)
        norm.running_var.uniform_(0.5, 2)
    integers = {f"conv{i}.weight": on_grid(getattr(module, f"conv{i}").weight, 8) for i in (1, 2)}
    batches = [torch.randn(8, 3, 12, 12) for _ in range(3)]
    return module, integers, batches, trace(module, batches[0][:1])


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(1)
    module = Encoder().eval()
    integers = {
        "query.weight": on_grid(module.query.weight, 4, 32),
        "embedding.weight": on_grid(module.embedding.weight, 6),
        "out.weight": on_grid(module.out.weight, 8),
    }
    batches = [
        {
            "input_ids": torch.randint(0, 50, (4, length)),
            "attention_mask": torch.ones(4, length, dtype=torch.int64),
        }
        for length in (7, 11)
    ]
    return module, integers, batches, trace(module, batches[0])


@pytest.fixture
def traced(monkeypatch):
    """Give the graph of a fixture instead of exporting once more."""

    def use(found):
        again = Traced(copy.deepcopy(found.model), found.notes)
        monkeypatch.setattr(EXPORT, "trace", lambda *_, **__: again)

    return use


def kinds(path, tmp_path):
    """The operators that onnxruntime makes of a file."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.log_severity_level = 4
    ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]


def test_floats_are_the_modules_at_any_batch_size(small, traced, tmp_path):
    module, _, batches, graph = small
    traced(graph)
    found = export_onnx(module, batches[0], tmp_path / "m.onnx", OnnxForm(weights="float32"))
    assert found.check.max_error < 1e-4 and found.files == (tmp_path / "m.onnx",)
    assert found.rounded == 0 and found.size == (tmp_path / "m.onnx").stat().st_size
    opened = open_onnx(tmp_path / "m.onnx")
    for size in (1, 5):
        x = torch.randn(size, 3, 12, 12)
        assert torch.allclose(opened(x), module(x), atol=1e-4)


def test_nothing_of_the_machine_is_in_the_file(small, traced, tmp_path):
    module, _, batches, graph = small
    traced(graph)
    export_onnx(module, batches[0], tmp_path / "m.onnx", OnnxForm(weights="float32"))
    data = (tmp_path / "m.onnx").read_bytes()
    assert b".py" not in data and b"stack_trace" not in data
    assert {"conv1.weight", "conv2.weight", "linear.weight"} <= set(arrays(graph.model.graph))


@pytest.mark.parametrize("ranges", ["minmax", "percentile", "mse", "entropy"])
def test_integers_of_convolutions_are_the_files_own_through_norms(small, traced, tmp_path, ranges):
    module, integers, batches, graph = small
    traced(graph)
    path = tmp_path / "m.onnx"
    found = export_onnx(module, batches[0], path, OnnxForm(ranges=ranges), batches=batches)
    held = arrays(onnx.load(path).graph)
    for i, name in enumerate(integers, 1):
        assert held[name].dtype == np.int8
        assert np.array_equal(held[name], integers[name])
        norm = getattr(module, f"bn{i}")
        factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        row = getattr(module, f"conv{i}").weight[:, 0, 0, 0] / 127 * factor
        assert np.allclose(held[f"{name}_scale"], row.detach(), rtol=1e-5)
    assert found.rounded == 1  # the linear layer
    assert found.check.cosine > (0.95 if ranges == "entropy" else 0.995)
    assert not found.notes


def test_a_static_network_stays_in_integers(small, traced, tmp_path):
    module, _, batches, graph = small
    traced(graph)
    export_onnx(module, batches[0], tmp_path / "m.onnx", batches=batches)
    found = kinds(tmp_path / "m.onnx", tmp_path)
    assert found.count("QLinearConv") == 2 and found.count("QLinearAdd") == 1
    assert "Conv" not in found and "Relu" not in found


def test_two_exports_have_the_same_bytes(small, traced, tmp_path):
    module, _, batches, graph = small
    for name in ("a.onnx", "b.onnx"):
        traced(graph)
        export_onnx(module, batches[0], tmp_path / name, batches=batches)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


@pytest.mark.parametrize("activations", ["none", "dynamic", "static"])
def test_tokens_run_in_integers_and_answers_keep_their_names(
    encoder, traced, tmp_path, activations
):
    module, integers, batches, graph = encoder
    traced(graph)
    path = tmp_path / "m.onnx"
    found = export_onnx(
        module, batches[0], path, OnnxForm(activations=activations), batches=batches
    )
    assert found.check.cosine > 0.99 and found.rounded == 2  # query: groups, and key
    held = arrays(onnx.load(path).graph)
    assert np.array_equal(held["embedding.weight"], integers["embedding.weight"])
    out = next(held[name] for name in ("out.weight", "out.weight_transposed") if name in held)
    shift = 128 if out.dtype == np.uint8 else 0  # wide integers: uint8 around 128
    rows = out if out.shape[0] == 24 else out.T
    assert np.array_equal(rows.astype(int) - shift, integers["out.weight"])
    opened = open_onnx(path)
    answer = opened(batches[1]["input_ids"], attention_mask=batches[1]["attention_mask"])
    wanted = module(**batches[1])
    assert answer.states.shape == wanted["states"].shape and answer[1] is answer["pooled"]
    if activations != "none":
        assert "MatMul" in " ".join(kinds(path, tmp_path)) and found.size < 20_000


@pytest.mark.parametrize("asymmetric", [False, True])
def test_blocks_of_four_bits_hold_the_integers(encoder, traced, tmp_path, asymmetric):
    module, integers, batches, graph = encoder
    traced(graph)
    path = tmp_path / "m.onnx"
    found = export_onnx(
        module, batches[0], path, OnnxForm(weights="int4", group_size=32, asymmetric=asymmetric)
    )
    held = arrays(onnx.load(path).graph)["query.weight"]
    q = np.stack([held & 15, held >> 4], -1).reshape(64, 64).astype(int)
    if not asymmetric:
        assert np.array_equal(q - 8, integers["query.weight"])
    assert found.rounded == 2 and found.check.cosine > 0.98  # key and out
    assert kinds(path, tmp_path).count("MatMulNBits") == 3


def test_nibbles_lie_low_first_and_symmetric_ones_around_eight():
    from taut.exporting.integers import Integers

    q = np.array([[-8, 7, 0, 1]], np.int32)
    found = Integers(q, np.ones((1, 1), np.float32), None, 4, True)
    assert packed(found).tolist() == [[[0xF0, 0x98]]]
    assert packed_zeros(np.array([[1, 2, 3]], np.int32)).tolist() == [0x21, 0x03]


def test_rows_shorter_than_half_a_group_are_an_error(encoder, traced, tmp_path):
    module, _, batches, graph = encoder
    traced(graph)
    with pytest.raises(ArgumentError, match=r"no matrix .* half a group of 256"):
        export_onnx(
            module, batches[0], tmp_path / "m.onnx", OnnxForm(weights="int4", group_size=256)
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("columns", [172, 25])
def test_the_last_group_of_a_row_may_be_short(columns, tmp_path):
    """Its scale is that of its own values: what pads it is no part of any product."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(columns, 48, bias=False).eval()
    short = columns % 32
    with torch.no_grad():
        layer.weight[:, -short:] = torch.randint(-7, 8, (48, short)) / 8.0
        layer.weight[:, -1] = 0.875  # 7 steps of an eighth
        layer.weight[:, :-short] = 0.0
    net = torch.nn.Sequential(layer)
    taut.compress(net, tmp_path / "o")
    batch = torch.randn(8, columns)
    done = taut.export(
        tmp_path / "o", tmp_path / "m.onnx", into=net, weights="int4", group_size=32, calib=[batch]
    )
    assert done.check.relative < 1e-6
    assert kinds(tmp_path / "m.onnx", tmp_path).count("MatMulNBits") == 1


def test_halves_are_half_the_bytes_and_too_large_values_are_named(small, traced, tmp_path):
    module, _, batches, graph = small
    traced(graph)
    whole = export_onnx(module, batches[0], tmp_path / "a.onnx", OnnxForm(weights="float32"))
    traced(graph)
    half = export_onnx(module, batches[0], tmp_path / "b.onnx", OnnxForm(weights="float16"))
    assert half.size < 0.75 * whole.size and half.check.cosine > 0.9999
    large = copy.deepcopy(graph.model)
    for tensor in large.graph.initializer:
        if tensor.name == "linear.weight":
            values = np.full(list(tensor.dims), 1e5, np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    traced(Traced(large, ()))
    with pytest.raises(ArgumentError, match=r'"linear.weight" reaches 1e\+05, and float16 65504'):
        export_onnx(module, batches[0], tmp_path / "c.onnx", OnnxForm(weights="float16"))


@pytest.mark.slow("the exporter follows LSTMs step by step")
def test_recurrent_layers_are_integers_in_the_file_and_a_note_says_so(tmp_path):
    class Recurrent(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = torch.nn.LSTM(8, 16, batch_first=True)
            self.out = torch.nn.Linear(16, 8)

        def forward(self, x):
            return self.out(self.lstm(x)[0][:, -1])

    torch.manual_seed(2)
    x = torch.randn(3, 5, 8)
    module = Recurrent()
    found = export_onnx(module, x, tmp_path / "m.onnx", OnnxForm(activations="dynamic"))
    assert any("LSTM" in note and "multiplied as floats" in note for note in found.notes)
    assert found.check.cosine > 0.99 and module.training  # as the caller left it
    large = [v for v in arrays(onnx.load(found.path).graph).values() if v.size >= 512]
    assert large and all(values.dtype == np.int8 for values in large)


def test_a_language_model_leaves_without_its_cache(tmp_path):
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.config = types.SimpleNamespace(use_cache=True)
            self.out = torch.nn.Linear(8, 16)

        def forward(self, x):
            cache = {"past_key_values": object()} if self.config.use_cache else {}
            return {"logits": self.out(x), **cache}

    torch.manual_seed(0)
    module = Model()
    export_onnx(module, torch.randn(2, 8), tmp_path / "m.onnx", OnnxForm(weights="float32"))
    assert module.config.use_cache  # as the caller left it
    x = torch.randn(5, 8)
    answer = open_onnx(tmp_path / "m.onnx")(x)
    assert list(answer) == ["logits"]
    assert torch.allclose(answer.logits, module(x)["logits"], atol=1e-5)


def test_half_precision_and_arguments_by_any_name_leave_at_any_size(tmp_path):
    class Halved(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.out = torch.nn.Linear(8, 16)

        def forward(self, **features):  # as sentence encoders take their tokens
            return self.out(features["x"]).relu() * features["mask"][:, None]

    torch.manual_seed(0)
    module = Halved().half().eval()
    batch = {"x": torch.randn(3, 8).half(), "mask": torch.tensor([1, 0, 1])}
    found = export_onnx(module, batch, tmp_path / "m.onnx", OnnxForm(weights="float32"))
    assert found.check.max_error < 1e-5 and not found.notes  # against the module in float32
    more = {"x": torch.randn(7, 8), "mask": torch.ones(7, dtype=torch.int64)}
    answer = open_onnx(tmp_path / "m.onnx")(**more)
    assert torch.allclose(answer, module.float()(**more), atol=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "static activations take batches"),
        ({"batches": []}, "at least one batch"),
        ({"weights": "int5"}, '"int5" is none of float32'),
        ({"activations": "lazy"}, '"lazy" is none of none'),
        ({"ranges": "best", "batches": [1]}, '"best" is none of minmax'),
        ({"weights": "int4", "group_size": 24}, "24 is none of 16"),
        ({"batches": [{"y": torch.zeros(1)}]}, 'no input "y"'),
        ({"batches": [torch.full((2, 3, 12, 12), float("nan"))]}, "not finite"),
    ],
)
def test_wrong_arguments_are_named_and_leave_nothing(small, traced, tmp_path, options, words):
    module, _, batches, graph = small
    traced(graph)
    with pytest.raises(ArgumentError, match=words):
        form = OnnxForm(**{name: one for name, one in options.items() if name != "batches"})
        given = options.get("batches")
        export_onnx(module, batches[0], tmp_path / "m.onnx", form, batches=given)
    assert not list(tmp_path.iterdir())


def test_what_is_there_stays_without_force(small, traced, tmp_path):
    module, _, batches, graph = small
    traced(graph)
    (tmp_path / "m.onnx").write_bytes(b"mine")
    with pytest.raises(ArgumentError, match="exists"):
        export_onnx(module, batches[0], tmp_path / "m.onnx", OnnxForm(weights="float32"))
    assert (tmp_path / "m.onnx").read_bytes() == b"mine"
    export_onnx(module, batches[0], tmp_path / "m.onnx", OnnxForm(weights="float32"), force=True)
    assert (tmp_path / "m.onnx").stat().st_size > 1000


def test_another_answer_than_the_modules_is_refused_and_not_written(small, traced, tmp_path):
    module, _, batches, graph = small
    traced(graph)
    other = copy.deepcopy(module)
    other.linear.weight.data.neg_()
    other.linear.bias.data.neg_()
    with pytest.raises(VerifyError, match=r"cosine of -1\.000"):
        export_onnx(other, batches[0], tmp_path / "m.onnx", OnnxForm(weights="float32"))
    assert not list(tmp_path.iterdir())


def test_answers_far_from_the_modules_are_warned_of(small, traced, tmp_path):
    module, _, batches, graph = small
    traced(graph)
    near = export_onnx(module, batches[0], tmp_path / "a.onnx", OnnxForm(weights="float32"))
    assert not any("far from" in note for note in near.notes)
    other = copy.deepcopy(module)
    rolled = module.linear.weight.data.roll(1, 1)
    other.linear.weight.data = 0.7 * other.linear.weight.data + 0.3 * rolled
    far = export_onnx(other, batches[0], tmp_path / "b.onnx", OnnxForm(weights="float32"))
    assert 0.3 < far.check.relative < 0.9
    assert any(f"(mean cosine {far.check.cosine:.3f}," in note for note in far.notes)
    assert any(f"up to {far.check.relative:.2f})" in note for note in far.notes)


@pytest.mark.parametrize("factor", [0.0, 0.005, 3.0])
def test_an_answer_of_another_size_is_refused_though_its_direction_is_right(
    small, traced, tmp_path, factor
):
    module, _, batches, graph = small
    model = copy.deepcopy(graph.model)
    for held in model.graph.initializer:
        if held.name.startswith("linear"):
            values = onnx.numpy_helper.to_array(held) * np.float32(factor)
            held.CopyFrom(onnx.numpy_helper.from_array(values, held.name))
    traced(Traced(model, ()))
    words = "relative error" if factor else "cosine"
    with pytest.raises(VerifyError, match=words):
        export_onnx(module, batches[0], tmp_path / "m.onnx", OnnxForm(weights="float32"))
    assert not list(tmp_path.iterdir())


def test_a_check_counts_samples_and_errors(small, traced, tmp_path):
    module, _, batches, graph = small
    traced(graph)
    export_onnx(module, batches[0], tmp_path / "m.onnx", OnnxForm(weights="float32"))
    moved = copy.deepcopy(module)
    moved.linear.bias.data[3] += 0.5
    found = check_onnx(tmp_path / "m.onnx", moved, batches)
    assert found.samples == 24 and found.max_error == pytest.approx(0.5, abs=1e-4)
    assert found.runtime == f"onnxruntime {ort.__version__}"


def test_a_module_that_cannot_be_followed_is_told_with_the_exporters_words(tmp_path):
    class Branching(torch.nn.Module):
        def forward(self, x):
            return x + 1 if x.sum() > 0 else x - 1

    with pytest.raises(ArgumentError, match=r"cannot follow Branching: .*torch\.export"):
        export_onnx(Branching(), torch.ones(2, 3), tmp_path / "m.onnx", OnnxForm(weights="float32"))
    with pytest.raises(ArgumentError, match="does not run on the example"):
        export_onnx(Small(), torch.ones(2, 4), tmp_path / "m.onnx", OnnxForm(weights="float32"))


def test_an_answer_that_stands_for_all_is_given_and_the_others_keep_their_names(tmp_path):
    class Encoding(torch.nn.Module):
        main_output = "sentence_embedding"

        def __init__(self):
            super().__init__()
            self.out = torch.nn.Linear(8, 16)

        def forward(self, x, attention_mask):
            states = self.out(x)
            mean = (states * attention_mask[..., None]).mean(1)
            return {"last_hidden_state": states, "sentence_embedding": mean}

    torch.manual_seed(0)
    module = Encoding().eval()
    batch = {"x": torch.randn(3, 5, 8), "attention_mask": torch.ones(3, 5)}
    export_onnx(module, batch, tmp_path / "m.onnx", OnnxForm(weights="float32"))
    outputs = [one.name for one in onnx.load(tmp_path / "m.onnx").graph.output]
    assert outputs == ["last_hidden_state", "sentence_embedding"]
    answer = open_onnx(tmp_path / "m.onnx")(**batch)
    assert torch.allclose(answer, module(**batch)["sentence_embedding"], atol=1e-5)
    later = 9.0 * (torch.arange(5) > 2)[:, None]
    spoiled = copy.deepcopy(module)
    spoiled.register_forward_hook(
        lambda _, args, found: {**found, "last_hidden_state": found["last_hidden_state"] + later}
    )
    hidden = {**batch, "attention_mask": torch.tensor([1.0, 1, 1, 0, 0]).expand(3, 5)}
    assert check_onnx(tmp_path / "m.onnx", spoiled, [hidden]).max_error < 1e-5
    with pytest.raises(VerifyError, match="relative error"):
        check_onnx(tmp_path / "m.onnx", spoiled, [batch])


@pytest.mark.filterwarnings("ignore")
def test_batches_of_another_size_that_static_ranges_lose_are_told(tmp_path):
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(64, 64, bias=False), torch.nn.ReLU(), torch.nn.Linear(64, 32, bias=False)
    ).eval()
    taut.compress(net, tmp_path / "o")
    batches = [scale * torch.randn(16, 64) for scale in (1, 1, 1, 1e-3)]
    lost = {}
    for activations in ("static", "dynamic"):
        done = taut.export(
            tmp_path / "o", tmp_path / f"{activations}.onnx", into=net,
            weights="int8", activations=activations, calib=batches,
        )  # fmt: skip
        lost[activations] = [one for one in done.notes if "answers to a batch of the check" in one]
        assert done.check.lost == len(lost[activations])
    assert "activations dynamic" in lost["static"][0] and not lost["dynamic"]
