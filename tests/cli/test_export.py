"""`taut export` as a command: what it says, what it prints, and how it fails."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file


@pytest.fixture
def file(run, model, tmp_path):
    path = tmp_path / "net.taut.safetensors"
    assert run("compress", model, "-o", path, "--bits", 3, "-q").exit_code == 0
    return path


def test_it_says_what_is_exact_and_what_it_cost(run, file, tmp_path):
    done = run("export", file, tmp_path / "out.safetensors", "--dtype", "float16")
    assert done.exit_code == 0
    assert done.stdout == ""
    # The matrix takes the rounding; bias, scale and indices are float16's or no floats.
    assert "tensors    3 with the very values of the Taut file, 1 rounded" in done.stderr
    assert "float16 again: " in done.stderr
    assert "no faster than before" in done.stderr
    assert load_file(tmp_path / "out.safetensors")["layer.weight"].dtype == np.float16


def test_json_is_the_export_as_data(run, file, tmp_path):
    done = run("export", file, tmp_path / "out.safetensors", "--json", "-q")
    tree = json.loads(done.stdout)
    assert done.stderr == ""
    assert (tree["format"], tree["exact"], tree["rounded"]) == ("safetensors", 4, 0)
    assert tree["check"]["max_error"] == 0
    assert tree["size"] == (tmp_path / "out.safetensors").stat().st_size


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("{file}", "{model}"), 2, "exists; give -f"),
        (("{file}", "out", "--to", "safetensor"), 2, "nearest: safetensors"),
        (("{file}", "out.mlmodel"), 2, "name a folder, or a file that ends in"),
        (("{model}", "out.safetensors"), 1, "is what `taut compress` reads"),
        (("{file}", "out.safetensors", "--group-size", "64"), 2, "goes with onnx, compressed-"),
        (("{file}", "out"), 2, "give the original's folder with --into"),
    ],
)
def test_mistakes_are_one_line_and_an_exit_code(
    run, file, model, tmp_path, monkeypatch, args, code, message
):
    monkeypatch.chdir(tmp_path)
    done = run("export", *(arg.format(file=file, model=model) for arg in args))
    assert done.exit_code == code
    assert message in done.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()
