"""`taut diff`, and bases on the command line."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import taut
from taut.errors import ArgumentError
from taut.reporting.difference_page import write_difference_page


def test_table_json_and_page(tmp_path, run):
    save_file({"<w>": np.float32([1, 2, 0]), "s": np.zeros(2)}, tmp_path / "a.safetensors")
    save_file({"<w>": np.float32([1, 3, 0]), "s": np.zeros(2)}, tmp_path / "b.safetensors")
    files = [str(tmp_path / name) for name in ("a.safetensors", "b.safetensors")]
    shown = run("diff", *files).stdout
    assert "<w>" in shown and "33.3 %" in shown and "1 changed, 1 same" in shown
    tree = json.loads(run("diff", *files, "--json", "--html", tmp_path / "page.html", "-q").stdout)
    assert {tensor["name"]: tensor["changed"] for tensor in tree["tensors"]} == {"<w>": 1, "s": 0}
    page = (tmp_path / "page.html").read_text()
    assert "&lt;w&gt;" in page and "<w>" not in page
    with pytest.raises(ArgumentError):
        write_difference_page(tmp_path / "page.html", taut.diff(*files))


def test_a_base_is_named_taken_and_told(model, tmp_path, run):
    tensors = load_file(model)
    tensors["layer.weight"] = tensors["layer.weight"] * np.float32(1.0001)
    save_file(tensors, tmp_path / "tuned.safetensors")
    out = tmp_path / "tuned.taut.safetensors"
    made = run("compress", tmp_path / "tuned.safetensors", "--base", model, "--json", "-q")
    assert made.exit_code == 0 and json.loads(made.stdout)["base"] == "net.safetensors"
    assert "a delta to net.safetensors" in run("info", out, "-q").stdout
    assert run("verify", out, "--base", model).exit_code == 0
    back = tmp_path / "back.safetensors"
    assert run("decompress", out, "-o", back, "--base", model).exit_code == 0
    assert back.read_bytes() == (tmp_path / "tuned.safetensors").read_bytes()
    other = run("verify", out, "--base", tmp_path / "tuned.safetensors")
    assert other.exit_code == 4 and "layer.weight" in other.stderr
    model.unlink()
    lost = run("decompress", out, "-o", tmp_path / "no.safetensors")
    assert (
        lost.exit_code == 2
        and "--base" in lost.stderr
        and not (tmp_path / "no.safetensors").exists()
    )
