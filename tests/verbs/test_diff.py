"""What differs between two models, and how it is told."""

import json
import sys
import tracemalloc

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file
from tests.forge_gguf import Forged, blob
from tests.io import low_bit_folders as made

import taut
from taut.cli._guard import exit_code
from taut.errors import ArgumentError


def by_name(first, second):
    return {tensor.name: tensor for tensor in taut.diff(first, second).tensors}


def test_states_are_told_apart():
    a = {"same": np.zeros(3), "cut": np.zeros(4), "old": np.arange(5), "lost": np.ones(2)}
    b = {"same": np.zeros(3), "cut": np.zeros(3), "now": np.arange(5), "new": np.ones(7)}
    found = taut.diff(a, b)
    states = {tensor.name: tensor.state for tensor in found.tensors}
    assert states == {
        "same": "same",
        "cut": "reshaped",
        "now": "renamed",
        "new": "new",
        "lost": "missing",
    }
    assert by_name(a, b)["now"].old_name == "old" and not found.alike
    assert taut.diff(a, a).alike


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ml_dtypes.bfloat16])
def test_ulps_are_counted_over_zero_and_between_exponents(dtype):
    info = ml_dtypes.finfo(dtype)
    least = np.array(info.smallest_subnormal, dtype)
    a = np.array([1.0, -least, 0.0, 2.0], dtype)
    b = np.array([1.0, least, -0.0, 2.0], dtype)
    b[0] += dtype(info.eps)
    found = by_name({"w": a}, {"w": b})["w"]
    assert found.changed == 3
    assert found.ulps == 3  # -least, -0, +0, least
    assert found.mean_ulps == pytest.approx((1 + 3 + 1) / 3)
    assert found.zeros == (1, 1)


def test_the_error_is_relative_to_the_first_and_of_finite_values():
    a, b = np.array([3.0, 4.0, np.nan]), np.array([3.0, 3.0, 1.0])
    found = by_name({"w": a}, {"w": b})["w"]
    assert found.relative == 1 / 25 and found.changed == 2


def test_integers_and_complex_numbers_are_compared_too():
    a = {"i": np.array([-1, 5]), "c": np.array([1 + 1j, 0], np.complex64)}
    b = {"i": np.array([1, 5]), "c": np.array([1 + 2j, 0], np.complex64)}
    found = by_name(a, b)
    assert (found["i"].changed, found["i"].ulps) == (1, 2)
    assert found["c"].changed == 1 and found["c"].relative == pytest.approx(1 / 2)


def test_a_taut_file_is_compared_as_it_decodes(tmp_path):
    w = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    result = taut.compress({"w": w}, tmp_path / "w.taut.safetensors", bits=3)
    found = by_name({"w": w}, result.path)["w"]
    assert found.relative == pytest.approx(result.tensors[0].rel_mse, rel=0.02)


def test_folded_norms_are_told_of():
    before = {"0.weight": np.ones((2, 2)), "1.running_var": np.float64([2, 3])}
    after = {"0.weight": np.full((2, 2), 0.5), "1.running_var": np.ones(2)}
    (note,) = taut.diff(before, after).notes
    assert note.startswith("1 batch norm is folded in the second model")
    assert taut.diff(before, before | {"0.weight": after["0.weight"]}).notes == ()


def test_a_missing_model_is_an_error():
    with pytest.raises(ArgumentError, match="no such file") as raised:
        taut.diff("nowhere.safetensors", {"w": np.zeros(2)})
    assert exit_code(raised.value) == 2


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [1e-300, 1.0, 1e300])
def test_signalling_nan_and_extreme_numbers_give_plain_json(size):
    a = {"w": np.array([3, 4]) * size, "h": np.uint16([0x7C01, 0x3C00]).view(np.float16)}
    b = {"w": np.array([3, 3]) * size, "h": np.uint16([0x3C00, 0x3C00]).view(np.float16)}
    found = taut.diff(a, b)
    json.dumps(found.to_json(), allow_nan=False)
    assert found.tensors[0].relative == pytest.approx(1 / 25)
    assert found.tensors[1].changed == 1
    zeros = {"w": np.zeros(2), "h": a["h"]}
    json.dumps(taut.diff(zeros, b).to_json(), allow_nan=False)


@pytest.fixture
def gptq(rng, tmp_path):
    arrays, _ = made.gptq_layer(rng, 4, 256, 64)
    arrays["norm.weight"] = np.ones(64, np.float16)
    return made.write_folder(tmp_path / "gptq", arrays, made.CONFIGS["gptq"])


@pytest.fixture
def gguf(tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(Forged([blob("w", "Q8_0", 96, 128), blob("h", "F16", 40, 32)]).data())
    return path


@pytest.mark.parametrize(("model", "low_bit"), [("gptq", "l.weight"), ("gguf", "w")])
def test_low_bit_weights_are_floats_where_the_other_model_has_floats(
    model, low_bit, request, tmp_path
):
    if model == "gguf":
        pytest.importorskip("gguf")
    source = request.getfixturevalue(model)
    kept = taut.compress(source, tmp_path / "kept.taut.safetensors").path
    lossy = taut.compress(source, tmp_path / "lossy.taut.safetensors", bits=3)
    meant = {one.name: one.rel_mse for one in lossy.tensors}
    for first in (source, kept):
        found = by_name(first, lossy.path)
        assert {one.state for one in found.values()} <= {"same", "changed"}
        assert found[low_bit].state == "changed"
        assert found[low_bit].relative == pytest.approx(meant[low_bit], rel=0.02)
    assert {one.state for one in by_name(lossy.path, source).values()} <= {"same", "changed"}


@pytest.mark.parametrize(("model", "held"), [("gptq", "l.qweight"), ("gguf", "w")])
def test_low_bit_weights_of_one_form_are_compared_as_they_are(model, held, request, tmp_path):
    source = request.getfixturevalue(model)
    kept = taut.compress(source, tmp_path / "kept.taut.safetensors").path
    found = taut.diff(source, kept)
    assert found.alike
    (dtype,) = (one.dtype for one in found.tensors if one.name == held)
    assert dtype == {"gptq": "I32", "gguf": "U8"}[model]


def test_blocks_are_compared_with_halves_in_single_precision(gguf, tmp_path):
    pytest.importorskip("gguf")
    taut.compress(gguf, tmp_path / "m.taut.safetensors")
    numbers = taut.load(tmp_path / "m.taut.safetensors")
    halves = {"w": numbers["w"].astype(np.float16), "h": numbers["h"]}
    found = by_name(gguf, halves)
    assert found["w"].dtype == "F32" and found["w"].state == "changed"
    assert found["w"].relative < 1e-6
    assert found["h"].dtype == "F16" and found["h"].state == "same"


def test_large_tensors_are_compared_in_pieces_to_the_same_numbers(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    first = {
        "single": rng.standard_normal((300, 256)).astype(np.float32),
        "double": rng.standard_normal((90, 200)) * 1e200,
        "complex": (rng.standard_normal((90, 100)) * (1 + 2j)).astype(np.complex64),
        "old": rng.integers(0, 99, (300, 300)).astype(np.int16),
        "zeros": np.zeros((150, 300), np.float32),
    }
    second = {name: values.copy() for name, values in first.items()}
    second["single"][:, 3] *= np.float32(1.001)
    second["double"][80:] *= 1.5
    second["complex"][1::2] += 1
    second["new"] = second.pop("old")
    folder = tmp_path
    for name, model in (("first", first), ("second", second)):
        save_file(model, folder / f"{name}.safetensors")
        taut.compress(folder / f"{name}.safetensors", folder / name)
    module = sys.modules["taut.analysis.differences"]
    monkeypatch.setattr(module, "_BLOCK", 1 << 12)
    whole = taut.diff(folder / "first.safetensors", folder / "second.safetensors")
    monkeypatch.setattr(module, "LARGE", 1 << 15)
    monkeypatch.setattr(module, "PIECE", 1 << 14)
    pairs = [("first.safetensors", "second"), ("first", "second.safetensors")]
    for one, other in [("first.safetensors", "second.safetensors"), *pairs]:
        found = taut.diff(folder / one, folder / other)
        assert found.tensors == whole.tensors
    states = {tensor.name: tensor.state for tensor in whole.tensors}
    assert states == {
        "single": "changed",
        "double": "changed",
        "complex": "changed",
        "zeros": "same",
        "new": "renamed",
    }


def test_a_large_tensor_is_not_held_to_be_compared(tmp_path, monkeypatch):
    values = np.random.default_rng(0).standard_normal((2048, 1024)).astype(np.float32)
    paths = [tmp_path / f"{name}.safetensors" for name in "ab"]
    for at, path in enumerate(paths):
        save_file({"w": values * np.float32(1 + at / 1000)}, path)
    module = sys.modules["taut.analysis.differences"]
    for name, value in (("_BLOCK", 1 << 14), ("LARGE", 1 << 16), ("PIECE", 1 << 16)):
        monkeypatch.setattr(module, name, value)
    tracemalloc.start()
    try:
        assert taut.diff(*paths).count("changed") == 1
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < values.nbytes / 2
