"""Presets on the command line: shown, written for editing, carried out, misspelt."""

import json
from pathlib import Path

import pytest

from taut.planning import load_plan, preset_names


def test_each_is_shown_with_its_text(run):
    result = run("plan", "--presets")
    assert (result.exit_code, result.stderr) == (0, "")
    heads = [line.split()[0] for line in result.stdout.splitlines() if line[0] != " "]
    assert heads == list(preset_names())
    assert max(map(len, result.stdout.splitlines())) <= 88
    text = " ".join(result.stdout.split())
    for name in heads:
        about = load_plan(name).about
        assert about is not None and " ".join(about.split()) in text
    listed = json.loads(run("plan", "--presets", "--json").stdout)
    assert [one["name"] for one in listed] == heads
    assert listed[0]["about"] == load_plan("edge").about


def test_one_is_written_with_its_comments_to_be_changed(run, tmp_path):
    path = tmp_path / "plan.yaml"
    result = run("plan", "--preset", "tiny", "-o", path)
    assert result.exit_code == 0 and str(path) in result.stderr
    assert "# " in path.read_text()
    assert load_plan(path) == load_plan("tiny")
    assert run("plan", "--preset", "edge", "-o", path).exit_code == 2  # it is there already
    assert load_plan(path) == load_plan("tiny")
    assert run("plan", "--preset", "edge").stdout.startswith("# ")
    found = json.loads(run("plan", "--preset", "tiny", "--json").stdout)
    assert found["plan"]["steps"][0]["mask"]["sparsity"] == "80%"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "name a model, or --preset NAME"),
        (["--preset", "tny"], 'no "tny"; nearest: tiny; all: edge, lossless, server, tiny'),
        (["net", "--preset", "tiny"], "--preset: goes without a model"),
        (["--preset", "tiny", "--size", "3x"], "--preset: goes without --size"),
        (["--presets", "--preset", "tiny"], "--presets: goes without --preset"),
    ],
)
def test_what_goes_not_together_exits_2(run, options, told):
    result = run("plan", *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert told in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_model_is_compressed_by_name(run, model, tmp_path):
    assert run("compress", model, "--plan", "lossless", "-q").exit_code == 0
    small = tmp_path / "net.taut.safetensors"
    assert run("decompress", small, "-o", tmp_path / "back.safetensors").exit_code == 0
    assert (tmp_path / "back.safetensors").read_bytes() == model.read_bytes()
    report = json.loads(run("compress", model, "--plan", "server", "-f", "--json").stdout)
    assert 0.99 * 4 <= report["bits"] <= 4
    assert {t["name"]: t["scheme"] for t in report["tensors"]}["layer.weight"].startswith("rd")


def test_lossless_loses_nothing_to_a_size_either(run, model, tmp_path):
    result = run("compress", model, "--plan", "lossless", "--size", "30x")
    assert result.exit_code == 3
    assert not (tmp_path / "net.taut.safetensors").exists()


def test_a_misspelt_one_is_named(run, model, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    result = run("compress", model, "--plan", "sever")
    assert result.exit_code == 2
    assert "nor is it a preset; nearest: server" in result.stderr.splitlines()[-1]
    Path("sever").write_text("taut: 1\ntarget: {bits: 5}\n")  # a file wins
    report = json.loads(run("compress", model, "--plan", "sever", "--json").stdout)
    assert 0.99 * 5 <= report["bits"] <= 5


def test_edge_puts_matrices_on_a_grid_of_rows_and_codes_it(run, model):
    report = json.loads(run("compress", model, "--plan", "edge", "--json").stdout)
    tensors = {tensor["name"]: tensor for tensor in report["tensors"]}
    assert tensors["layer.weight"]["scheme"] == "int8"
    assert tensors["layer.weight"]["bits"] < 8
    assert 0 < tensors["layer.weight"]["rel_mse"] < 1e-4  # steps of 1/127 of a row's largest
    assert not any(tensors[name]["rel_mse"] for name in ("layer.bias", "scale", "ids"))
