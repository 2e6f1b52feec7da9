"""The verb export: which format it is, what goes with it, and that the result is loaded."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pytest

import taut
from taut.errors import ArgumentError, FormatError, TautError, VerifyError
from taut.exporting.request import format_of


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return taut.compress({"w": np.ones((99, 99), np.float32)}, tmp_path / "f").path


@pytest.fixture(scope="module")
def llama(tmp_path_factory) -> Path:
    """A folder of a tiny network with grouped heads, as transformers saves it."""
    torch, transformers = (pytest.importorskip(name) for name in ("torch", "transformers"))
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=96,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=True,
    )
    folder = tmp_path_factory.mktemp("llama") / "llama"
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("name", "to", "kind"),
    [
        ("a.safetensors", None, "safetensors"),
        ("A.ONNX", None, "onnx"),
        ("llama-3.2", None, "hf"),
        ("a", "gguf", "gguf"),
        ("a.gguf", None, "gguf"),
        ("a.tflite", None, "litert"),
        ("a.pte", None, "executorch"),
        ("a.mlpackage", None, "coreml"),
        ("a", "litert", "litert"),
        ("a-w4a16", "compressed-tensors", "compressed-tensors"),
    ],
)
def test_the_name_says_the_format_unless_it_is_named(name, to, kind):
    assert format_of(Path(name), to) == kind


@pytest.mark.parametrize(
    ("name", "to", "message"),
    [
        ("a", "ggup", r'format "ggup" is unknown; one of safetensors, .*nearest: gguf'),
        ("a", "coreml", "Core ML's packages end in .mlpackage; name it a.mlpackage"),
        ("a.onnx", "litert", r"another format than litert; name it a.tflite$"),
        ("a.tflite", "executorch", r"another format than executorch; name it a.pte$"),
        ("a.bin", None, r"hf is a folder of files, and .bin is a file's suffix; name a folder, or"),
        ("a.gguf", "hf", "name a folder$"),
        ("a.taut.safetensors", None, "is the name of a Taut file"),
    ],
)
def test_a_format_that_cannot_be_is_refused(name, to, message):
    with pytest.raises(ArgumentError, match=message):
        format_of(Path(name), to)


@pytest.mark.parametrize(
    ("out", "options", "message"),
    [
        ("a.safetensors", {"weights": "int8"}, "weights .* goes with onnx, gguf, .* safetensors$"),
        ("a.onnx", {"dtype": "float16"}, r"dtype \(--dtype\) goes with safetensors, hf, and"),
        (
            "a.gguf",
            {"activations": "dynamic"},
            "goes with onnx, compressed-tensors, litert, executorch, coreml, and this is gguf",
        ),
        ("a.safetensors", {"score": float}, r"score \(--score\) goes with hf, onnx, litert, "),
        ("a.safetensors", {"dtype": "fp16"}, 'dtype "fp16" is unknown; one of float32'),
        ("a", {}, r"f: no config.json, which hf needs; give the original's folder"),
        ("f", {"to": "safetensors", "force": True}, "is an input; name another"),
        ("a.tflite", {"group_size": 32}, r"group_size .* goes with onnx, .* this is litert$"),
        ("a.tflite", {"weights": "int4"}, "weights int4: LiteRT takes float32, float16, int8$"),
        ("a.tflite", {"activations": "static"}, r"static: take data .* give --calib"),
        ("a.pte", {"activations": "none"}, '"none" is none of dynamic, static, as ExecuTorch has'),
        ("a.pte", {"weights": "float32", "activations": "dynamic"}, "go with weights int8, not"),
        ("a.tflite", {"max_error": 0.0}, "is no bound; give a part of the range"),
        ("no/a.safetensors", {}, "the folder .* does not exist"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(tmp_path, file, out, options, message):
    with pytest.raises(ArgumentError, match=message):
        taut.export(file, tmp_path / out, **options)
    assert list(tmp_path.iterdir()) == [file]


def test_a_plain_file_is_told_from_a_taut_one(tmp_path, file):
    done = taut.export(file, tmp_path / "m.safetensors")
    assert done.notes[0].startswith("float32 again: as large as the original")
    with pytest.raises(FormatError, match="a plain safetensors file is what `taut compress`"):
        taut.export(tmp_path / "m.safetensors", tmp_path / "n.safetensors")


def test_transformers_loads_the_folder_with_the_files_values(tmp_path, llama):
    import torch
    import transformers

    taut.compress(llama, tmp_path / "small", bits=4)
    done = taut.export(tmp_path / "small", tmp_path / "out", dtype="bfloat16")
    loaded, told = transformers.LlamaForCausalLM.from_pretrained(
        tmp_path / "out", output_loading_info=True
    )
    assert not told["missing_keys"] and not told["unexpected_keys"]
    assert loaded.dtype == torch.bfloat16
    held = taut.load(tmp_path / "small", framework="torch")
    for name, tensor in held.tensors():
        assert torch.equal(loaded.state_dict()[name], tensor.bfloat16()), name
    assert (done.exact, done.rounded) == (5, 15)  # the norms, which are ones, and the rest
    assert any(f"loads it: {len(held)} tensors" in note for note in done.notes)


def test_the_originals_folder_gives_the_config_and_the_score_is_told(tmp_path, llama):
    path = taut.compress(llama / "model.safetensors", tmp_path / "f").path
    score = lambda net: float(next(net.parameters()).shape[0])  # noqa: E731
    done = taut.export(path, tmp_path / "out", into=llama, score=score)
    assert "score 96.0000" in done.notes
    assert (tmp_path / "out" / "model.safetensors").stat().st_size == done.files[-1].stat().st_size


def test_a_folder_that_does_not_load_is_no_export(tmp_path, llama):
    taut.compress(llama, tmp_path / "small")
    config = json.loads((llama / "config.json").read_text())
    (tmp_path / "small" / "config.json").write_text(json.dumps({**config, "hidden_size": 32}))
    with pytest.raises(VerifyError, match="transformers cannot load it"):
        taut.export(tmp_path / "small", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


def test_a_pruned_folder_says_why_it_does_not_load(tmp_path, llama):
    import torch
    import transformers

    net = transformers.LlamaForCausalLM.from_pretrained(llama)
    layer = net.model.layers[0].mlp
    for name in ("gate_proj", "up_proj"):
        getattr(layer, name).weight = torch.nn.Parameter(getattr(layer, name).weight[:48])
        getattr(layer, name).out_features = 48
    layer.down_proj.weight = torch.nn.Parameter(layer.down_proj.weight[:, :48])
    layer.down_proj.in_features = 48
    file = taut.compress(net, tmp_path / "f").path
    with pytest.raises(VerifyError, match="transformers cannot load it"):
        taut.export(file, tmp_path / "out", into=llama)
    taut.export(file, tmp_path / "out.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f", "out.safetensors"]


def test_nothing_is_written_into_what_is_read(tmp_path, llama):
    taut.compress(llama, tmp_path / "small")
    with pytest.raises(ArgumentError, match="lies in the folder"):
        taut.export(tmp_path / "small", tmp_path / "small" / "out")
    with pytest.raises(ArgumentError, match="is an input"):
        taut.export(tmp_path / "small", tmp_path / "small", force=True)


NETWORK = """
import torch

def net():
    torch.manual_seed(0)
    part = torch.nn.Linear
    return torch.nn.Sequential(part(64, 96), torch.nn.ReLU(), part(96, 10))

def batches():
    torch.manual_seed(1)
    return [torch.randn(8, 64) for _ in range(3)]
"""


@pytest.fixture
def network(tmp_path: Path) -> str:
    for name in ("torch", "onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)
    (tmp_path / "net.py").write_text(NETWORK)
    return f"{tmp_path / 'net.py'}:net"


def test_onnx_holds_the_files_values_and_is_scored_in_its_runtime(tmp_path, network):
    path = taut.compress(network, tmp_path / "f", bits=5).path
    calib = network.replace(":net", ":batches")

    def score(net):
        import torch

        outputs = net(torch.linspace(-1, 1, 256).reshape(4, 64))
        return {"own": float(outputs.abs().sum())}

    done = taut.export(path, tmp_path / "net.onnx", into=network, calib=calib, score=score)
    assert (done.exact, done.rounded) == (4, 0)
    assert done.check.runtime.startswith("onnxruntime ")
    assert done.check.samples == 24
    assert done.check.max_error < 1e-5
    # The values are the file's, and not those that the function gives.
    held = taut.load(path)
    x = np.linspace(-1, 1, 256, dtype=np.float32).reshape(4, 64)
    hidden = np.maximum(x @ held["0.weight"].T + held["0.bias"], 0)
    expected = np.abs(hidden @ held["2.weight"].T + held["2.bias"]).sum()
    assert done.notes[-1] == f"own {expected:.4f} in PyTorch, {expected:.4f} in onnxruntime"
    assert done.notes[-2].startswith("float32 weights: as large as the original")


def test_the_weights_are_by_default_what_holds_the_schemes_as_they_are(tmp_path, network):
    from taut.container import TautFile
    from taut.exporting.onnx.usual_form import form_for
    from taut.exporting.request import ExportRequest
    from taut.scheme import parse_scheme

    def weights(scheme):
        plan = dict.fromkeys(("0.weight", "2.weight"), parse_scheme(scheme))
        path = taut.compress(network, tmp_path / "f", plan=plan, force=True).path
        form = form_for(TautFile(path), ExportRequest(source=path, out=tmp_path / "net.onnx"))
        return form.weights, form.group_size, form.asymmetric

    assert weights("ternary") == weights("int3") == weights("int8") == ("int8", 32, False)
    assert weights("int4:g16") == ("int4", 16, False)
    assert weights("fp16") == ("float32", 32, False)


def test_onnx_without_a_network_or_a_batch_says_what_it_wants(tmp_path, network):
    path = taut.compress(network, tmp_path / "f").path
    with pytest.raises(ArgumentError, match=r"into \(--into\): .* holds tensors alone"):
        taut.export(path, tmp_path / "net.onnx")
    with pytest.raises(ArgumentError, match=r"calib \(--calib\): ONNX takes a batch"):
        taut.export(path, tmp_path / "net.onnx", into=network)
    calib = network.replace(":net", ":batches")
    with pytest.raises(ArgumentError, match="group_size: goes with weights int4"):
        taut.export(path, tmp_path / "net.onnx", into=network, calib=calib, group_size=32)
    assert not (tmp_path / "net.onnx").exists()


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "no room left")


def test_what_was_made_of_onnx_comes_back_as_its_graph(tmp_path, monkeypatch):
    onnx = pytest.importorskip("onnx")
    values = np.linspace(-1, 1, 4096, dtype=np.float32).reshape(64, 64)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [onnx.helper.make_tensor_value_info("x", 1, [1, 64])],
        [onnx.helper.make_tensor_value_info("y", 1, [1, 64])],
        [onnx.numpy_helper.from_array(values, "w")],
    )
    onnx.save(onnx.helper.make_model(graph), tmp_path / "m.onnx")
    path = taut.compress(tmp_path / "m.onnx", tmp_path / "f").path
    done = taut.export(path, tmp_path / "back.onnx")
    assert (tmp_path / "back.onnx").read_bytes() == (tmp_path / "m.onnx").read_bytes()
    assert (done.exact, done.rounded, done.check.samples) == (1, 0, 1)
    (tmp_path / "link.onnx").symlink_to("back.onnx")
    done = taut.export(path, tmp_path / "link.onnx", force=True)
    assert (tmp_path / "link.onnx").is_symlink() and done.files == (tmp_path / "link.onnx",)
    with monkeypatch.context() as patched:
        patched.setattr("taut.container.atomic_folder.new_folder", full)
        with pytest.raises(TautError, match=r"x\.onnx: cannot be written \(no room left\)"):
            taut.export(path, tmp_path / "x.onnx")
    with pytest.raises(ArgumentError, match="to put it on a grid takes data to run it on"):
        taut.export(path, tmp_path / "o.onnx", weights="int8")
    taut.export(path, tmp_path / "w.safetensors")
    from taut.io import open_source

    assert [info.name for info in open_source(tmp_path / "w.safetensors").infos] == ["w"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"weights": "int4", "activations": "static"}, "activations static: go with weights int8"),
        ({"weights": "float16", "activations": "dynamic"}, "activations dynamic: go with weights"),
        ({"weights": "int4", "ranges": "minmax"}, "ranges minmax: go with static activations"),
        ({"weights": "int8", "ranges": "mse"}, "ranges mse: go with .*these are dynamic"),
    ],
)
def test_activations_and_ranges_that_nothing_would_use_are_refused(tmp_path, given, told):
    pytest.importorskip("onnx")
    from taut.container import TautFile
    from taut.exporting.onnx.usual_form import form_for
    from taut.exporting.request import ExportRequest

    path = taut.compress({"w": np.ones((64, 64), np.float32)}, tmp_path / "w").path
    request = ExportRequest(source=path, out=tmp_path / "net.onnx", **given)
    with pytest.raises(ArgumentError, match=told):
        form_for(TautFile(path), request)
