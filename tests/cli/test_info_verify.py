"""`taut info` and `taut verify`: what they show, and what they do with damage."""

import json

import pytest


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
