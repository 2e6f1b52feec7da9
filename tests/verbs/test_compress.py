"""The verb compress: what it accepts, where it writes, what it reports."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import save_file
from tests.thorough import examples

import taut
from taut.container import TautFile
from taut.encoding.tensor import Indices, encode_tensor, relative_error
from taut.errors import ArgumentError, FormatError, TargetError, VerifyError
from taut.io import SAFETENSORS_DTYPES, TensorInfo
from taut.scheme import parse_scheme


def weights(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return (rng.standard_normal(shape) * 0.02).astype(np.float32)


@pytest.fixture
def model(tmp_path: Path, rng: np.random.Generator) -> Path:
    path = tmp_path / "net.safetensors"
    arrays = {"a.weight": weights(rng, 128, 256), "a.bias": weights(rng, 128), "n": np.array(3)}
    save_file(arrays, path, metadata={"format": "pt"})
    return path


@pytest.fixture
def folder(tmp_path: Path, model: Path) -> Path:
    """A model folder with two shards, their index, config and tokenizer files."""
    home = tmp_path / "hub"
    (home / "1_Pooling").mkdir(parents=True)
    arrays = dict(TautFile(taut.compress(model, tmp_path / "t").path))
    save_file({"a.weight": arrays["a.weight"]}, home / "model-00001-of-00002.safetensors")
    rest = {name: arrays[name] for name in ("a.bias", "n")}
    save_file(rest, home / "model-00002-of-00002.safetensors", metadata={"format": "pt"})
    names = {"a.weight": "model-00001-of-00002.safetensors"}
    names |= dict.fromkeys(rest, "model-00002-of-00002.safetensors")
    index = {"metadata": {"total_size": 1}, "weight_map": names}
    (home / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")
    (home / "config.json").write_text('{"model_type": "bert"}')
    (home / "1_Pooling" / "config.json").write_text("{}")
    return home


def test_the_report_has_the_promised_keys_and_adds_up(model, tmp_path):
    result = taut.compress(model, tmp_path / "net.taut.safetensors")
    tree = json.loads(json.dumps(result.to_json()))
    keys = {"size", "original_size", "ratio", "bits", "parameters", "tensors"}
    assert keys | {"seconds", "peak_memory"} <= tree.keys()
    assert keys <= taut.info(result.path).to_json().keys()
    assert set(tree["tensors"][0]) == {"name", "dtype", "shape", "scheme", "bytes", "bits", "rel_mse"}  # fmt: skip  # noqa: E501
    assert tree["size"] == result.path.stat().st_size
    assert tree["original_size"] == model.stat().st_size
    assert tree["ratio"] == tree["original_size"] / tree["size"]
    assert tree["parameters"] == 128 * 256 + 128 + 1
    assert tree["bits"] == 8 * tree["size"] / tree["parameters"]
    by_name = {tensor["name"]: tensor for tensor in tree["tensors"]}
    assert by_name["a.weight"]["shape"] == [128, 256]
    assert by_name["a.weight"]["scheme"] == "lossless"
    assert by_name["a.weight"]["rel_mse"] == 0
    assert 0.8 * tree["size"] < sum(t["bytes"] for t in tree["tensors"]) < tree["size"]


@settings(max_examples=examples(60))
@given(data=st.data())
def test_any_array_comes_back_to_the_bit(tmp_path_factory, data):
    dtype = data.draw(st.sampled_from(list(SAFETENSORS_DTYPES.values())))
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=9))
    raw = data.draw(st.binary(min_size=16, max_size=64))
    nbytes = int(np.prod(shape, dtype=int)) * dtype.itemsize
    values = np.resize(np.frombuffer(raw, np.uint8), nbytes)
    if dtype == np.bool_:
        values &= 1
    array = values.view(dtype).reshape(shape) if nbytes else np.empty(shape, dtype)
    path = tmp_path_factory.mktemp("any") / "a.taut.safetensors"
    taut.compress({"x": array, "y": np.tile(array.reshape(-1), 300)}, path)
    loaded = taut.load(path)
    assert loaded["x"].tobytes() == array.tobytes()
    assert loaded["x"].dtype == dtype
    assert loaded["x"].shape == shape
    assert loaded["y"].tobytes() == array.tobytes() * 300


def test_nan_payloads_signed_zeros_and_denormals_survive(tmp_path, rng):
    bits = rng.integers(0, 1 << 32, 50_000, dtype=np.uint32)
    bits[::3] = 0x7FC00000 | (bits[::3] >> 10)
    bits[1::7] = 0x80000000
    bits[2::7] = bits[2::7] & 0x807FFFFF
    path = tmp_path / "odd.taut.safetensors"
    taut.compress({"w": bits.view(np.float32)}, path)
    assert np.array_equal(taut.load(path)["w"].view(np.uint32), bits)


def test_arrays_in_any_memory_order(tmp_path, rng):
    array = weights(rng, 64, 300)
    path = tmp_path / "order.taut.safetensors"
    taut.compress({"t": array.T, "s": array[::2, ::-3], "b": array.astype(">f4")}, path)
    loaded = taut.load(path)
    assert np.array_equal(loaded["t"], array.T)
    assert np.array_equal(loaded["s"], array[::2, ::-3])
    assert np.array_equal(loaded["b"], array)


def test_equal_tensors_are_stored_once_whatever_their_names(tmp_path, rng):
    array = weights(rng, 300, 200)
    nearly = array.copy()
    nearly[299, 199] = 1
    arrays = {"a": array, "b": nearly, "c": array.copy(), "d": array.reshape(200, 300)}
    result = taut.compress(arrays, tmp_path / "d.taut.safetensors")
    taken = [tensor.bytes for tensor in result.tensors]
    assert taken[2] == 0
    assert min(taken[0], taken[1], taken[3]) > 0.5 * array.nbytes
    assert np.array_equal(taut.load(result.path)["c"], array)
    assert result.parameters == 4 * 60_000


def test_a_digest_that_collides_is_no_proof(tmp_path, rng, monkeypatch):
    monkeypatch.setattr("taut.io.equal_tensors.xxhash.xxh3_128_digest", lambda data: bytes(16))
    arrays = {"a": weights(rng, 50, 50), "b": weights(rng, 50, 50)}
    result = taut.compress(arrays, tmp_path / "d.taut.safetensors")
    assert np.array_equal(taut.load(result.path)["b"], arrays["b"])


def test_a_plan_says_how_each_tensor_is_stored(tmp_path, rng):
    arrays = {"a": weights(rng, 100, 100), "b": weights(rng, 90, 100), "c": weights(rng, 10)}
    arrays["d"] = weights(rng, 80, 100).astype(ml_dtypes.bfloat16)
    plan = {"a": "keep", "b": "fp16", "c": "fp16"}
    result = taut.compress(arrays, tmp_path / "p.taut.safetensors", plan=plan)
    reports = {tensor.name: tensor for tensor in result.tensors}
    assert reports["a"].bytes == 40_000
    assert reports["b"].bytes < 18_000
    assert [reports[name].scheme for name in "abcd"] == ["keep", "fp16", "fp16", "lossless"]
    loaded = taut.load(result.path)
    for name in "bc":
        expected = arrays[name].astype(np.float16).astype(np.float32)
        assert loaded[name].dtype == np.float32
        assert np.array_equal(loaded[name], expected)
        assert reports[name].rel_mse == pytest.approx(
            relative_error(arrays[name], expected), rel=0.012
        )
        assert 1e-9 < reports[name].rel_mse < 1e-6
    assert np.array_equal(loaded["d"], arrays["d"])
    assert taut.verify(result.path).tensors == 4
    assert np.array_equal(loaded.load_all()["b"], loaded["b"])


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"a.wieght": "keep"}, r'plan: "a.wieght" matches no tensor; nearest: a.weight'),
        ({"a.weight": "rb:3"}, r"rb:3"),
        ({"a.weight": "int4:g48"}, r"int4:g48: a group of 48 does not divide 256 columns; .*: 32"),
        ({"n": "fp16"}, r'tensor "n" is I64, scheme fp16 is for F64'),
        ({"a.weight": "channels:50%"}, r"channels:50%: channels hang together"),
        ({"a.weight": None}, r'plan: "a.weight": None is no scheme'),
        (["a.weight"], r"plan: a list; give a dict"),
    ],
)
def test_a_plan_that_cannot_be_carried_out_is_refused(model, tmp_path, plan, message):
    path = tmp_path / "x.taut.safetensors"
    with pytest.raises(ArgumentError, match=message):
        taut.compress(model, path, plan=plan)
    assert not path.exists()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_lossy_coding_names_the_tensor_and_place_of_nan_and_inf(tmp_path, bad):
    array = np.ones((20, 30), np.float32)
    array[7, 11] = bad
    with pytest.raises(ArgumentError, match=rf'"w" has the value {bad} at \[7, 11\]'):
        taut.compress({"w": array}, tmp_path / "x", plan={"w": "fp16"})
    taut.compress({"w": array}, tmp_path / "y")
    assert taut.load(tmp_path / "y")["w"].tobytes() == array.tobytes()


def test_what_a_plan_calls_lossless_stays_so_whatever_the_target(tmp_path, rng):
    tensors = {name: weights(rng, 100, 200) for name in ("a", "b")}
    tensors["b"][3, 4] = np.nan
    path = tmp_path / "x.taut.safetensors"
    result = taut.compress(tensors, path, bits=16, plan={"b": "lossless"})
    assert [t.scheme for t in result.tensors] == ["rd", "lossless"]
    assert taut.load(path)["b"].tobytes() == tensors["b"].tobytes()


def test_a_target_beside_a_plan_with_steps_of_its_own(tmp_path, rng):
    tensors = {name: weights(rng, 100, 200) for name in ("a", "b")}
    result = taut.compress(tensors, tmp_path / "x", bits=10, plan={"b": "rd:6"})
    assert 0.99 * 10 <= result.bits <= 10


@pytest.mark.parametrize("target", ["8x", "4x", "3x"])
def test_nothing_is_lost_where_the_exact_file_is_small_enough(tmp_path, rng, target):
    pruned = weights(rng, 500, 600)
    pruned[rng.random(pruned.shape) < 0.92] = 0
    result = taut.compress({"w": pruned}, tmp_path / "x", size=target)
    assert result.ratio >= 8 and result.tensors[0].rel_mse == 0


def test_an_exact_file_of_the_very_size_asked_for_loses_nothing(tmp_path, rng):
    arrays = {"w": weights(rng, 200, 300)}
    size = taut.compress(arrays, tmp_path / "exact", effort="max").size
    kept = taut.compress(arrays, tmp_path / "kept", size=size)
    lost = taut.compress(arrays, tmp_path / "lost", size=size - 1)
    assert (kept.size, kept.tensors[0].rel_mse) == (size, 0)
    assert lost.size < size and lost.tensors[0].rel_mse > 0


def test_steps_grow_as_the_root_of_a_matrixs_scale(tmp_path, rng):
    """Halfway between one step for all (1, 256) and steps as the scales (1, 1)."""
    small = weights(rng, 300, 400)
    arrays = {"small": small, "large": 16 * small[::-1]}
    result = taut.compress(arrays, tmp_path / "x", bits=7, effort="fast")
    errors = {tensor.name: tensor.rel_mse for tensor in result.tensors}
    assert errors["small"] / errors["large"] == pytest.approx(16, rel=0.05)


@pytest.mark.parametrize("bits", [0.3, 1, 3, 7, 12])
def test_one_matrix_alone_meets_any_target(tmp_path, rng, bits):
    """Where nothing evens out the steps in which the trellis changes its prices."""
    result = taut.compress({"w": weights(rng, 512, 512)}, tmp_path / "x", bits=bits)
    assert 0.99 * bits <= result.bits <= bits


def test_a_matrix_loses_a_fifth_less_by_the_trellis(tmp_path, rng):
    tensors = {name: weights(rng, 512, 512) for name in "ab"}
    fast, best = (
        taut.compress(tensors, tmp_path / effort, bits=3, effort=effort)
        for effort in ("fast", "max")
    )
    assert best.tensors[0].rel_mse < 0.83 * fast.tensors[0].rel_mse


def test_a_model_of_many_small_matrices_can_be_small(tmp_path, rng):
    tensors = {f"layer{i}": weights(rng, 16, 16, 3, 3) for i in range(20)}
    result = taut.compress(tensors, tmp_path / "x", size="8x")
    assert max(tensor.rel_mse for tensor in result.tensors) < 0.03


def test_without_a_matrix_no_target_can_be_met(tmp_path):
    with pytest.raises(TargetError, match="no float matrix"):
        taut.compress({"n": np.arange(9000)}, tmp_path / "x", size="20x")


def test_a_quantiser_slots_in(rng):
    values = weights(rng, 64, 256)
    info = TensorInfo("w", "F32", values.shape, values.nbytes)
    step = 0.01
    indices = np.rint(values / step).astype(np.int32)

    def quantize(*_: object) -> Indices:
        return Indices(indices, step, (0.0, 0.0, 0.0))

    coded = encode_tensor(info, values, parse_scheme("rd:2"), effort="max", quantize=quantize)
    assert coded.data.nbytes < values.nbytes / 8
    assert coded.rel_mse == pytest.approx(step**2 / 12 / float(np.mean(values**2)), rel=0.1)
    values[3, 4] = np.nan
    with pytest.raises(ArgumentError, match=r'"w" has the value nan at \[3, 4\]'):
        encode_tensor(info, values, parse_scheme("rd:2"), quantize=quantize)


def shards_of(folder):
    return sorted(path.name for path in folder.glob("*.safetensors"))


def test_a_model_folder_stays_one(folder, tmp_path):
    out = tmp_path / "small"
    result = taut.compress(folder, out)
    assert result.path == out / "model.taut.safetensors.index.json"
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()) == [
        "1_Pooling/config.json",
        "config.json",
        *(shard.replace(".safetensors", ".taut.safetensors") for shard in shards_of(folder)),
        "model.taut.safetensors.index.json",
    ]
    assert taut.load(out)["n"] == 3
    assert taut.verify(out).tensors == 3
    with pytest.raises(ArgumentError, match="exists; give -f"):
        taut.compress(folder, out)
    taut.compress(folder, out, force=True)
    with pytest.raises(ArgumentError, match=r"is an input|is the model"):
        taut.compress(folder, folder, force=True)


def test_a_model_folder_can_become_one_file(folder, tmp_path):
    result = taut.compress(folder, tmp_path / "one.taut.safetensors")
    assert result.path.is_file()
    assert result.original_size == sum(p.stat().st_size for p in folder.glob("*.safetensors"))


def test_a_failed_compression_leaves_no_folder(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(
        sys.modules["taut.compression.writing"], "copy_files", lambda *_, **__: 1 / 0
    )
    with pytest.raises(ZeroDivisionError):
        taut.compress(folder, tmp_path / "small")
    assert not (tmp_path / "small").exists()


def test_a_failed_compression_leaves_a_folder_of_the_users_as_it_was(folder, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("kept")
    with pytest.raises(ZeroDivisionError):
        taut.compress(folder, mine, progress=lambda *_: 1 / 0)
    assert (mine / "notes.txt").read_text() == "kept"
    assert not (mine / "model.taut.safetensors").exists()


@pytest.mark.parametrize("into", ["model-00001-of-00002", "model-00002-of-00002", "index"])
@pytest.mark.parametrize("how", ["same", "link"])
@pytest.mark.parametrize("asked", ["folder", "index"])
def test_no_file_of_a_sharded_source_is_the_destination(folder, tmp_path, into, how, asked):
    index = folder / "model.safetensors.index.json"
    file = index if into == "index" else folder / f"{into}.safetensors"
    before = {path: path.read_bytes() for path in folder.glob("model*")}
    dst = file
    if how == "link":
        dst = tmp_path / "link.safetensors"
        dst.symlink_to(file)
    with pytest.raises(ArgumentError, match=r"is the model to compress|is not a folder"):
        taut.compress(folder if asked == "folder" else index, dst, force=True)
    assert {path: path.read_bytes() for path in before} == before


def test_no_shard_of_a_checkpoint_is_the_destination(tmp_path):
    torch = pytest.importorskip("torch")
    shards = {"a": "pytorch_model-1.bin", "b": "pytorch_model-2.bin"}
    for name, shard in shards.items():
        torch.save({name: torch.ones(64, 64)}, tmp_path / shard)
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": shards}))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for path in before:
        with pytest.raises(ArgumentError, match="is the model to compress"):
            taut.compress(index, path, force=True)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_no_data_file_of_an_onnx_model_is_the_destination(tmp_path):
    onnx = pytest.importorskip("onnx")
    tensor = onnx.numpy_helper.from_array(np.ones((64, 64), np.float32), "w")
    graph = onnx.helper.make_graph([], "g", [], [], [tensor])
    onnx.save(
        onnx.helper.make_model(graph),
        tmp_path / "m.onnx",
        save_as_external_data=True,
        location="m.data",
        size_threshold=0,
    )
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(before) == 2
    for path in before:
        with pytest.raises(ArgumentError, match="is the model to compress"):
            taut.compress(tmp_path / "m.onnx", path, force=True)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("how", ["same", "link", "dots"])
def test_the_source_is_never_the_destination(model, tmp_path, how):
    before = model.read_bytes()
    dst = {"same": model, "link": tmp_path / "link", "dots": tmp_path / ".." / tmp_path.name / model.name}[how]  # fmt: skip  # noqa: E501
    if how == "link":
        dst.symlink_to(model)
    with pytest.raises(ArgumentError, match="is the model to compress"):
        taut.compress(model, dst, force=True)
    assert model.read_bytes() == before


def test_a_taut_file_is_not_compressed_twice(model, tmp_path):
    result = taut.compress(model, tmp_path / "a.taut.safetensors")
    with pytest.raises(ArgumentError, match="is a Taut file already"):
        taut.compress(result.path, tmp_path / "b.taut.safetensors")


def test_a_dry_run_estimates_and_writes_nothing(tmp_path, rng):
    arrays = {f"w{i}": weights(rng, 1000, 700) for i in range(3)} | {"b": weights(rng, 99)}
    path = tmp_path / "x.taut.safetensors"
    estimate = taut.compress(arrays, path, dry_run=True)
    assert list(tmp_path.iterdir()) == []
    assert estimate.peak_memory > 3 * 2_800_000
    result = taut.compress(arrays, path)
    assert estimate.size == pytest.approx(result.size, rel=0.02)
    assert estimate.parameters == result.parameters
    assert estimate.tensors[1].bytes == pytest.approx(result.tensors[1].bytes, rel=0.02)


def test_progress_counts_every_tensor_twice(model, tmp_path):
    seen = []
    taut.compress(model, tmp_path / "x", progress=lambda *step: seen.append(step))
    assert seen == [(stage, n, 3) for stage in ("encode", "verify") for n in (1, 2, 3)]


def test_progress_of_a_search_for_a_size_begins_before_it_rounds(tmp_path):
    """Otherwise a large model shows no stage for as long as it is rounded."""
    seen, rng = [], np.random.default_rng(0)
    arrays = {f"w{n}": rng.standard_normal((64, 64), np.float32) for n in range(3)}
    taut.compress(arrays, tmp_path / "x", bits=3, progress=lambda *step: seen.append(step))
    assert seen[0] == ("search", 0, 3)
    assert list(dict.fromkeys(stage for stage, *_ in seen)) == ["search", "encode", "verify"]


def test_progress_of_a_calibrated_run_begins_before_the_network_is_run(tmp_path):
    torch = pytest.importorskip("torch")
    seen, before = [], []

    class Watched(torch.nn.Linear):
        def forward(self, x):
            before.append(seen[:2])
            raise RuntimeError("enough was seen")

    net, step = torch.nn.Sequential(Watched(64, 64)), lambda *step: seen.append(step)
    with pytest.raises(ArgumentError, match="enough was seen"):
        taut.compress(net, tmp_path / "x", bits=3, calib=[torch.ones(2, 64)], progress=step)
    assert before[0] == [("open", 0, 3), ("open", 1, 3)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threads": 0}, "threads: 0 is no number of at least 1"),
        ({"effort": "ultra"}, "effort: 'ultra' is unknown"),
    ],
)
def test_bad_arguments_are_named(model, tmp_path, arguments, message):
    with pytest.raises(ArgumentError, match=message):
        taut.compress(model, **{"dst": tmp_path / "x", **arguments})


def test_a_damaged_source_is_refused_before_anything_is_written(model, tmp_path):
    model.write_bytes(model.read_bytes()[:-1])
    with pytest.raises(FormatError):
        taut.compress(model, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_the_callers_arrays_are_not_touched(tmp_path, rng):
    array = weights(rng, 100, 100)
    before = array.copy()
    taut.compress({"w": array, "v": array}, tmp_path / "x", plan={"w": "fp16"})
    assert np.array_equal(array, before)


def test_writers_of_one_name_each_describe_their_own_file(tmp_path):
    """The name may be another's by then: twelve threads, two models of different sizes."""
    models = [{"w": np.zeros((64, 64 * size), np.float32)} for size in (1, 2)]
    path = tmp_path / "x.taut.safetensors"
    begin = threading.Barrier(12)

    def write(number):
        begin.wait()
        return [taut.compress(models[number % 2], path, force=True) for _ in range(4)]

    with ThreadPoolExecutor(12) as pool:
        for number, results in enumerate(pool.map(write, range(12))):
            for result in results:
                assert result.parameters == 64 * 64 * (1 + number % 2)
                assert result.path == path
    taut.verify(path)
    assert list(tmp_path.iterdir()) == [path]


def test_what_fails_since_the_source_changed_says_so(model, tmp_path, monkeypatch):
    def fails(*_, **__):
        os.truncate(model, 100)
        raise ArgumentError("a step is too fine")

    monkeypatch.setattr(sys.modules["taut.compression.compress"], "decide", fails)
    with pytest.raises(VerifyError, match=re.escape(str(model))):
        taut.compress(model, tmp_path / "x", bits=4)
