"""Low-bit checkpoints: read as the floats that the formats' definitions and libraries give."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.io import low_bit_folders as made

from taut.errors import FormatError
from taut.io import open_source
from taut.io.quantized import are_floats, as_floats, floats_in, remembered

LAYERS = {
    "fp8": (made.CONFIGS["fp8"], made.fp8_layer),
    "gptq": (made.CONFIGS["gptq"], made.gptq_layer),
    "awq": (made.CONFIGS["awq"], made.awq_layer),
    "mxfp4": (made.CONFIGS["mxfp4"], made.mxfp4_layer),
    "nvfp4": (
        made.packed_config(4, "float"),
        lambda rng: made.nvfp4_layer(rng, divided=True),
    ),
    "modelopt": (made.CONFIGS["modelopt"], lambda rng: made.nvfp4_layer(rng, divided=False)),
    "int4": (made.packed_config(), made.packed_layer),
    "int3": (made.packed_config(3), lambda rng: made.packed_layer(rng, 3)),
    "ordered": (made.packed_config(), lambda rng: made.packed_layer(rng, order=True)),
    "nf4": (made.CONFIGS["nf4"], made.nf4_layer),
    "int8": (made.CONFIGS["int8"], made.int8_layer),
}


@pytest.fixture(params=LAYERS)
def layer(request, rng, tmp_path):
    settings, make = LAYERS[request.param]
    arrays, floats = make(rng)
    arrays = {"norm.weight": np.ones(8, np.float32), **arrays}
    return made.write_folder(tmp_path / "model", arrays, settings, "float32"), arrays, floats


def test_a_weight_is_the_floats_of_its_format(layer):
    folder, _, floats = layer
    source = as_floats(open_source(folder))
    (name,) = {info.name for info in source.infos} - {"norm.weight"}
    found = source.load(name)
    assert name in ("l.weight", "e.proj")
    assert found.shape == floats.shape
    assert np.array_equal(found, floats.astype(found.dtype))
    assert source.nbytes == open_source(folder).nbytes
    assert source.files == ()


def test_bits_of_gptq_are_2_3_4_and_8(rng, tmp_path):
    for bits in (2, 3, 4, 8):
        arrays, floats = made.gptq_layer(rng, bits)
        settings = {"quant_method": "gptq", "bits": bits, "group_size": 16}
        folder = made.write_folder(tmp_path / str(bits), arrays, settings)
        found = as_floats(open_source(folder)).load("l.weight")
        assert found.dtype == np.float16
        assert np.array_equal(found, floats.astype(found.dtype))


def test_the_second_layout_of_gptq_has_its_zero_points_as_they_are(rng, tmp_path):
    arrays, _ = made.gptq_layer(rng)
    zeros = made.words(np.zeros((4, 32), np.int64), 4)
    first, second = {"quant_method": "gptq", "bits": 4}, {"checkpoint_format": "gptq_v2"}
    found = {}
    for name, more in (("v1", {}), ("v2", second)):
        folder = made.write_folder(tmp_path / name, arrays | {"l.qzeros": zeros}, first | more)
        found[name] = as_floats(open_source(folder)).load("l.weight").astype(np.float32)
    scales = arrays["l.scales"].astype(np.float32)[arrays["l.g_idx"]].T
    assert np.abs(found["v2"] - found["v1"] - scales).max() < 1e-3


def test_what_is_remembered_reads_the_same_floats(layer):
    folder, _, _ = layer
    tree = json.loads(remembered(open_source(folder)).text)
    assert tree["config"] == json.loads((folder / "config.json").read_text())["quantization_config"]
    assert tree["dtype"] == "F32"


def test_a_folder_without_a_config_that_says_so_is_taken_as_it_is(rng, tmp_path):
    arrays, _ = made.gptq_layer(rng)
    folder = made.write_folder(tmp_path / "model", arrays, None)
    source = open_source(folder)
    assert as_floats(source) is source
    assert not are_floats(source)


def test_states_of_bitsandbytes_say_themselves_what_they_are(rng, tmp_path):
    arrays, floats = made.nf4_layer(rng)
    folder = made.write_folder(tmp_path / "model", arrays, None)
    found = as_floats(open_source(folder / "model.safetensors"))
    assert np.array_equal(found.load("l.weight"), floats.astype(np.float16))


@pytest.mark.parametrize("name", ["quantize_config.json", "quant_config.json"])
def test_older_tools_say_it_beside_the_config(rng, tmp_path, name):
    gptq = name.startswith("quantize")
    arrays, floats = made.gptq_layer(rng) if gptq else made.awq_layer(rng)
    folder = made.write_folder(tmp_path / "model", arrays, None)
    said = {"bits": 4, "group_size": 16} if gptq else {"w_bit": 4, "q_group_size": 16}
    (folder / name).write_text(json.dumps(said))
    source = as_floats(open_source(folder))
    assert np.array_equal(source.load("l.weight"), floats.astype(np.float16))
    assert [path.name for path in source.companions] == ["config.json"]


def test_the_kinds_are_told(rng, tmp_path):
    arrays, _ = made.fp8_layer(rng)
    folder = made.write_folder(tmp_path / "model", arrays, made.CONFIGS["fp8"])
    floats = floats_in(as_floats(open_source(folder)))
    assert floats is not None
    assert "1 is FP8, a scale a block of 8x16" in floats.told


BROKEN = {
    "scale missing": ("fp8", lambda a: a.pop("l.weight_scale_inv"), "l.weight_scale_inv"),
    "scale of another shape": (
        "fp8",
        lambda a: a.update({"l.weight_scale_inv": np.ones((4, 3), np.float32)}),
        "l.weight_scale_inv",
    ),
    "group out of range": (
        "gptq",
        lambda a: a.update({"l.g_idx": np.full(64, 9, np.int32)}),
        "l.g_idx",
    ),
    "zero points missing": ("gptq", lambda a: a.pop("l.qzeros"), "l.qzeros"),
    "scales of another size": (
        "gptq",
        lambda a: a.update({"l.scales": np.ones((4, 24), np.float16)}),
        "l.scales",
    ),
    "weight missing": ("awq", lambda a: a.pop("l.qweight"), "l.qweight"),
    "scales missing": ("mxfp4", lambda a: a.pop("e.proj_scales"), "e.proj_scales"),
    "blocks missing": ("mxfp4", lambda a: a.pop("e.proj_blocks"), "e.proj_blocks"),
    "global scale missing": (
        "nvfp4",
        lambda a: a.pop("l.weight_global_scale"),
        "l.weight_global_scale",
    ),
    "scales of another group": (
        "int4",
        lambda a: a.update({"l.weight_scale": np.ones((24, 6), np.float32)}),
        "l.weight_scale",
    ),
    "a shape that is another": (
        "int4",
        lambda a: a.update({"l.weight_shape": np.array([24, 99])}),
        "l.weight_packed",
    ),
    "state cut short": (
        "nf4",
        lambda a: a.update({"l.weight.quant_state.bitsandbytes__nf4": np.zeros(3, np.uint8)}),
        "l.weight.quant_state.bitsandbytes__nf4",
    ),
    "state missing": (
        "nf4",
        lambda a: a.pop("l.weight.quant_state.bitsandbytes__nf4"),
        "l.weight.quant_state.bitsandbytes__nf4",
    ),
    "maxima missing": ("nf4", lambda a: a.pop("l.weight.absmax"), "l.weight.absmax"),
    "rows' maxima missing": ("int8", lambda a: a.pop("l.SCB"), "l.SCB"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_does_not_fit_is_named(rng, tmp_path, case):
    kind, spoil, tensor = BROKEN[case]
    settings, make = LAYERS[kind]
    arrays, _ = make(rng)
    spoil(arrays)
    folder = made.write_folder(tmp_path / "model", arrays, settings)
    with pytest.raises(FormatError, match=f'"{tensor}"'):
        as_floats(open_source(folder))
    assert tensor in remembered(open_source(folder)).why_not


DISAGREEING = {
    "unknown method": ({"quant_method": "aqlm"}, "aqlm"),
    "no method": ({"bits": 4}, "quant_method"),
    "other bits": ({"quant_method": "gptq", "bits": 8, "group_size": 16}, "l.qzeros"),
    "other groups": ({"quant_method": "gptq", "bits": 4, "group_size": 32}, "l.scales"),
    "other layout": ({"quant_method": "gptq", "bits": 4, "checkpoint_format": "marlin"}, "marlin"),
    "weights that are not there": ({"quant_method": "fp8"}, "no tensor"),
    "odd block": ({"quant_method": "fp8", "weight_block_size": "128"}, "weight_block_size"),
    "no groups": ({"quant_method": "compressed-tensors"}, "config_groups"),
    "unknown format": (
        made.packed_config() | {"format": "sparse-24-bitmask"},
        "sparse-24-bitmask",
    ),
    "other version": ({"quant_method": "awq", "version": "gemv"}, "gemv"),
}


@pytest.mark.parametrize("case", DISAGREEING)
def test_a_config_that_disagrees_is_an_error_that_says_in_what(rng, tmp_path, case):
    settings, told = DISAGREEING[case]
    arrays, _ = made.gptq_layer(rng)
    folder = made.write_folder(tmp_path / "model", arrays, settings)
    with pytest.raises(FormatError, match=told):
        as_floats(open_source(folder))


def test_a_value_that_the_dtype_does_not_hold_is_an_error(rng, tmp_path):
    arrays, _ = made.mxfp4_layer(rng)
    arrays["e.proj_scales"][...] = 200
    folder = made.write_folder(tmp_path / "model", arrays, made.CONFIGS["mxfp4"], "float16")
    source = as_floats(open_source(folder))
    with pytest.raises(FormatError, match=r"e\.proj"):
        source.load("e.proj")


def test_a_missing_second_scale_is_named(tmp_path: Path) -> None:
    arrays, _ = made.nvfp4_layer(np.random.default_rng(0), divided=False)
    del arrays["l.weight_scale_2"]
    folder = made.write_folder(tmp_path / "model", arrays, made.CONFIGS["modelopt"])
    with pytest.raises(FormatError, match=r'"l\.weight_scale_2" is missing'):
        as_floats(open_source(folder))
