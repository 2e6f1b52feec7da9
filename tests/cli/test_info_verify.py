"""`taut info` and `taut verify`: what they show, and what they do with damage."""

import io
import json
import os

import numpy as np
import pytest
from safetensors.numpy import save_file

import taut
from taut.cli._lines_table import lines_table
from taut.cli.info import _table
from taut.container.info import TensorReport
from taut.reporting.alike_layers import each_line, layer_lines


@pytest.fixture
def small(run, model, tmp_path):
    assert run("compress", model, "-q").exit_code == 0
    return tmp_path / "net.taut.safetensors"


def damage(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_info_is_a_table_with_totals(run, small):
    lines = run("info", small).stdout.splitlines()
    assert lines[0].split() == ["name", "dtype", "shape", "scheme", "bytes", "bits", "rel_mse"]
    assert {line.split()[0] for line in lines[1:5]} == {
        "layer.weight",
        "layer.bias",
        "scale",
        "ids",
    }
    assert lines[-1].startswith("4 tensors, 17.0 k parameters, ")


def test_info_quiet_is_the_totals_alone(run, small):
    assert len(run("info", small, "-q").stdout.splitlines()) == 1


@pytest.fixture
def layered(run, tmp_path):
    """Three layers that are alike, but for one bias, and experts in them."""
    tensors = {"head.weight": np.ones((4, 8), np.float32)}
    for layer in range(3):
        for expert in range(2):
            name = f"model.layers.{layer}.experts.{expert}.weight"
            tensors[name] = np.full((8, 8), layer + 0.1 * expert, np.float32)
        tensors[f"model.layers.{layer}.bias"] = np.zeros(9 if layer == 1 else 8, np.float32)
    save_file(tensors, tmp_path / "layered.safetensors")
    assert run("compress", tmp_path / "layered.safetensors", "-q").exit_code == 0
    return tmp_path / "layered.taut.safetensors"


def first_words(text, column=0):
    return [line.split()[column] for line in text.split("\n\n")[0].splitlines()[1:]]


def test_layers_that_are_alike_are_on_one_line_with_their_bytes_together(run, layered):
    shown = run("info", layered).stdout
    assert sorted(zip(first_words(shown), first_words(shown, 1), strict=True)) == [
        ("head.weight", "1"),
        ("model.layers.1.bias", "1"),
        ("model.layers.{0,2}.bias", "2"),
        ("model.layers.{0..2}.experts.{0,1}.weight", "6"),
    ]
    held = json.loads(run("info", layered, "--json").stdout)["tensors"]
    assert len(held) == 10
    experts = sum(one["bytes"] for one in held if "experts" in one["name"])
    line = next(one for one in shown.splitlines() if "experts" in one)
    assert line.split()[5] == str(experts)


def test_tensors_are_chosen_by_pattern_and_sorted_and_counted(run, layered):
    shown = run("info", layered, "--tensor", "*.layers.*.bias", "--sort", "name").stdout
    assert first_words(shown) == [f"model.layers.{number}.bias" for number in range(3)]
    assert len(first_words(run("info", layered, "--each").stdout)) == 10
    shown = run("info", layered, "--sort", "bytes", "--top", "1").stdout
    assert shown.splitlines()[1].startswith("model.layers.{0..2}.experts")
    assert shown.splitlines()[2] == "and 3 more"
    assert run("info", layered, "--top", "1").stdout == shown
    in_file = run("info", layered, "--sort", "file", "--top", "4").stdout
    assert in_file == run("info", layered).stdout != run("info", layered, "--top", "4").stdout


@pytest.mark.parametrize(
    ("pattern", "told"), [("head.wieght", "nearest: head.weight"), ("re:[", "is no pattern")]
)
def test_a_pattern_that_matches_nothing_is_an_error(run, layered, pattern, told):
    result = run("info", layered, "--tensor", pattern)
    assert (result.exit_code, result.stdout) == (2, "")
    assert told in result.stderr


def test_lines_fit_the_width_that_there_is():
    reports = [
        TensorReport(f"encoder.layer.{n}.attention.{kind}.weight", "F32", (384, 384), "rd", 9, 1, 0)
        for n in range(12)
        for kind in ("self.query", "self.key", "output.dense")
    ]
    whole = lines_table(layer_lines(reports))
    assert "encoder.layer.{0..11}.attention.self.query.weight" in whole and "384x384" in whole
    for width in (80, 75):
        text = lines_table(layer_lines(reports), width, lambda room: layer_lines(reports, 40, room))
        assert max(map(len, text.splitlines())) <= width
        assert "encoder.layer.{0..11}." in text
    text = lines_table(each_line(reports), 60)
    assert max(map(len, text.splitlines())) <= 60 and len(text.splitlines()) == 37


def test_a_hundred_kinds_of_layers_are_told_by_the_beginnings_of_their_names():
    reports = [
        TensorReport(f"layer{n // 9}.{n % 9}.conv.weight", "F32", (n + 1, 3), "rd", 9, 1, 0)
        for n in range(90)
    ]
    assert [line.name for line in layer_lines(reports)] == [
        f"layer{n}.{{0..8}}.conv.*" for n in range(10)
    ]


def test_info_json_has_the_promised_keys(run, small, model):
    report = json.loads(run("info", small, "--json").stdout)
    assert report["size"] == small.stat().st_size
    assert report["original_size"] == model.stat().st_size
    assert report["parameters"] == 64 * 256 + 64 + 1 + 512
    assert report["bits"] == pytest.approx(8 * report["size"] / report["parameters"])
    by_name = {tensor["name"]: tensor for tensor in report["tensors"]}
    weight = by_name["layer.weight"]
    assert (weight["dtype"], weight["shape"]) == ("F32", [64, 256])
    assert weight["scheme"] == "lossless"
    assert not weight["rel_mse"]


def test_verify_accepts_whole_files(run, small):
    result = run("verify", small, small)
    assert result.exit_code == 0
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 2
    assert json.loads(run("verify", small, "--json").stdout) == [{"file": str(small), "ok": True}]


def test_verify_names_tensor_and_chunk_and_goes_on(run, small, tmp_path):
    whole = tmp_path / "whole"
    whole.write_bytes(small.read_bytes())
    header = 8 + int.from_bytes(small.read_bytes()[:8], "little")
    blob = json.loads(small.read_bytes()[8:header])["layer.weight"]["data_offsets"]
    damage(small, header + (blob[0] + blob[1]) // 2)
    result = run("verify", small, whole, "--json")
    assert result.exit_code == 4
    assert "layer.weight" in result.stderr
    bad, good = json.loads(result.stdout)
    assert (bad["ok"], bad["kind"], bad["tensor"]) == (False, "VerifyError", "layer.weight")
    assert bad["chunk"] >= 1
    assert good["ok"] is True


@pytest.mark.parametrize("at", [0, 9, 60, -1])
def test_verify_exits_4_wherever_a_bit_flips(run, small, at):
    damage(small, at)
    assert run("verify", small, "-q").exit_code == 4


def test_decompressing_damage_exits_4_and_leaves_nothing(run, small, tmp_path):
    header = 8 + int.from_bytes(small.read_bytes()[:8], "little")
    blob = json.loads(small.read_bytes()[8:header])["layer.weight"]["data_offsets"]
    damage(small, header + (blob[0] + blob[1]) // 2)
    before = sorted(tmp_path.iterdir())
    assert run("decompress", small, "-o", tmp_path / "back").exit_code == 4
    assert sorted(tmp_path.iterdir()) == before


def test_what_is_no_taut_file_is_said_in_a_line(run, model):
    result = run("info", model)
    assert result.exit_code == 1
    assert result.stderr.startswith("taut: ")
    assert "net.safetensors" in result.stderr


def test_a_missing_file_does_not_stop_the_others_from_being_checked(run, small, tmp_path):
    result = run("verify", tmp_path / "none", small, "--json")
    assert result.exit_code == 2
    assert [outcome["ok"] for outcome in json.loads(result.stdout)] == [False, True]


def test_lines_that_are_left_out_are_counted_as_they_would_be_shown(tmp_path, monkeypatch):
    """In a narrow terminal several lines become one, of which fewer are left."""
    names = [
        f"encoder.layer.{n}.attention.self.{kind}.weight"
        for n in range(6)
        for kind in ("query", "key", "value")
    ]
    arrays = {name: np.ones((8, 8), np.float32) for name in (*names, "pooler.dense.weight")}
    taut.compress(arrays, tmp_path / "x.taut.safetensors")
    found = taut.info(tmp_path / "x.taut.safetensors")

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("sys.stdout", Terminal())
    for columns, left in ((200, 3), (60, 1)):
        monkeypatch.setattr(
            "shutil.get_terminal_size", lambda size=columns: os.terminal_size((size, 24))
        )
        shown = _table(found, found.tensors, False, "bytes", 1).splitlines()
        assert shown[-1] == f"and {left} more"
        assert max(map(len, shown)) <= columns
