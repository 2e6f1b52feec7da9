"""Low-bit checkpoints through `compress`: bit-exact as they are, lossy as floats."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tests.io import low_bit_folders as made

import taut
from taut.errors import ArgumentError, FormatError
from taut.io import open_source


@pytest.fixture
def folder(rng, tmp_path):
    arrays, _ = made.gptq_layer(rng, 4, 256, 64)
    arrays["norm.weight"] = np.ones(64, np.float16)
    return made.write_folder(tmp_path / "gptq", arrays, made.CONFIGS["gptq"])


def test_bit_exact_gives_every_byte_back(folder, tmp_path):
    taut.compress(folder, tmp_path / "small")
    taut.decompress(tmp_path / "small", tmp_path / "back")
    for path in folder.iterdir():
        assert (tmp_path / "back" / path.name).read_bytes() == path.read_bytes()


def test_load_gives_both(folder, tmp_path):
    taut.compress(folder, tmp_path / "one.taut.safetensors")  # the config stays behind
    packed = taut.load(tmp_path / "one.taut.safetensors")
    assert packed["l.qweight"].dtype == np.int32
    floats = taut.load(tmp_path / "one.taut.safetensors", dequantize=True)
    assert sorted(floats) == ["l.weight", "norm.weight"]
    assert floats["l.weight"].dtype == np.float16
    assert floats["l.weight"].shape == (64, 256)
    assert np.array_equal(floats.load_all()["l.weight"], floats["l.weight"])
    with pytest.raises(ArgumentError, match=r"l\.weight"):
        floats["l.qweight"]


def test_lossy_work_takes_the_floats_and_the_config_no_longer_calls_them_low_bit(folder, tmp_path):
    found = taut.compress(folder, tmp_path / "small", bits=3)
    assert any("GPTQ" in note for note in found.notes)
    assert found.parameters == 64 * 256 + 64
    config = json.loads((tmp_path / "small" / "config.json").read_text())
    assert config["quantization_config"] == {"quant_method": "taut"}
    file = taut.load(tmp_path / "small")
    assert sorted(file) == ["l.weight", "norm.weight"]
    assert file.index.origin.quantization == ""
    with pytest.raises(ArgumentError, match="dequantize"):
        taut.load(tmp_path / "small", dequantize=True)
    taut.decompress(tmp_path / "small", tmp_path / "back")
    assert "quantization_config" not in (tmp_path / "back" / "config.json").read_text()
    assert {info.name for info in open_source(tmp_path / "back").infos} == set(file)


def test_a_plan_that_loses_nothing_leaves_the_weights_packed(folder, tmp_path):
    taut.compress(folder, tmp_path / "small", plan={"l.scales": "keep"})
    assert "l.qweight" in taut.load(tmp_path / "small")
    taut.compress(folder, tmp_path / "lossy", plan={"l.weight": "int8"})
    assert "l.weight" in taut.load(tmp_path / "lossy")


def test_a_damaged_one_is_kept_bit_exact_and_refused_as_floats(folder, tmp_path):
    source = open_source(folder)
    arrays = {info.name: source.load(info.name) for info in source.infos}
    del arrays["l.scales"]
    made.write_folder(folder, arrays, made.CONFIGS["gptq"])
    found = taut.compress(folder, tmp_path / "small")
    assert any("l.scales" in note for note in found.notes)
    with pytest.raises(FormatError, match=r"l\.scales"):
        taut.compress(folder, tmp_path / "lossy", bits=4)
    assert not (tmp_path / "lossy").exists()
    with pytest.raises(FormatError, match=r"l\.scales"):
        taut.analyze(folder)


def test_analyze_describes_the_floats(folder):
    report = taut.analyze(folder)
    assert report.parameters == 64 * 256 + 64
    assert "GPTQ" in report.notes[0]


def test_shards_of_a_low_bit_model_load_as_floats(folder, tmp_path):
    taut.compress(folder, tmp_path / "shards", shard_size=6000)
    floats = taut.load(tmp_path / "shards", dequantize=True)
    assert len(floats.parts) > 1
    taut.compress(folder, tmp_path / "one")
    whole = taut.load(tmp_path / "one", dequantize=True)
    assert np.array_equal(floats["l.weight"], whole["l.weight"])
