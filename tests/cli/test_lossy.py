"""`taut compress --bits` and `--size`: targets in real bytes, met or exit 3."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file


@pytest.fixture
def model(tmp_path, rng):
    """Large enough that header, index and tables are a small part of a target."""
    weights = (rng.standard_normal((512, 1024)) * 0.05).astype(np.float32)
    path = tmp_path / "net.safetensors"
    save_file({"weight": weights, "bias": np.zeros(512, np.float32)}, path)
    return path


@pytest.mark.parametrize("bits", [3, 4.5])
def test_bits_are_met_from_below_within_a_percent(run, model, bits):
    report = json.loads(run("compress", model, "--bits", bits, "--json", "-q").stdout)
    assert 0.99 * bits <= report["bits"] <= bits
    weight = {tensor["name"]: tensor for tensor in report["tensors"]}["weight"]
    assert weight["scheme"].startswith("rd")
    assert 0 < weight["rel_mse"] < 0.1


@pytest.mark.parametrize(("target", "ratio"), [("8x", 8), ("12.5%", 8), ("262144B", 8.01)])
def test_a_size_is_met_from_below_within_a_percent(run, model, tmp_path, target, ratio):
    assert run("compress", model, "--size", target, "-q").exit_code == 0
    size = (tmp_path / "net.taut.safetensors").stat().st_size
    wanted = model.stat().st_size / ratio
    assert 0.985 * wanted <= size <= 1.005 * wanted


def test_a_lossy_dry_run_estimates_and_writes_nothing(run, model, tmp_path):
    before = sorted(tmp_path.iterdir())
    result = run("compress", model, "--bits", 3, "--dry-run", "--json")
    assert result.exit_code == 0
    estimate = json.loads(result.stdout)["size"]
    assert "rate-distortion, 3 bits per weight" in result.stderr
    assert sorted(tmp_path.iterdir()) == before
    written = json.loads(run("compress", model, "--bits", 3, "--json", "-q").stdout)["size"]
    assert estimate == pytest.approx(written, rel=1e-3)  # from samples


@pytest.mark.parametrize("size", ["10GB", "95%", "30%"])
def test_what_has_room_as_it_is_is_told_as_lossless(run, model, size):
    result = run("compress", model, "--size", size, "--dry-run", "--json")
    assert result.exit_code == 0
    exact = json.loads(result.stdout)["size"] > 0.5 * model.stat().st_size
    assert ("lossless, which size" in result.stderr) == exact == (size != "30%")
    assert ("rate-distortion" in result.stderr) == (not exact)


def test_a_target_out_of_reach_exits_3_with_the_best(run, model, tmp_path):
    before = sorted(tmp_path.iterdir())
    result = run("compress", model, "--size", "9999x", "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["kind"] == "TargetError"
    assert sorted(tmp_path.iterdir()) == before
