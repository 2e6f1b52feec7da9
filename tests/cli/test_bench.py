"""`taut bench`: every coder on a model, in memory."""

import importlib.util
import json

import numpy as np
import pytest
from safetensors.numpy import save_file

ZSTD = ["zstd -3"] if importlib.util.find_spec("zstandard") else []


def test_bench_prints_a_row_a_coder(run, model):
    result = run("bench", model, "-T", 1)
    head, *rows = result.stdout.splitlines()
    assert head.split("  ")[0] == "coder"
    assert [row.split("  ")[0] for row in rows] == ["fast", "max", *ZSTD]
    assert "1 thread," in result.stderr


def test_bench_json_counts_every_byte(run, model):
    report = json.loads(run("bench", model, "--json", "-q", "--effort", "fast").stdout)
    assert report["original_size"] == 4 * (64 * 256 + 64 + 1) + 8 * 512
    assert report["parameters"] == 64 * 256 + 64 + 1 + 512
    assert [row["coder"] for row in report["rows"]] == ["fast", *ZSTD]
    for row in report["rows"]:
        assert row["ratio"] == pytest.approx(report["original_size"] / row["size"])
        assert row["encode"] > 0 and row["decode"] > 0


def test_a_model_without_data_is_refused(run, tmp_path):
    save_file({"nothing": np.zeros((0, 4), np.float32)}, tmp_path / "empty.safetensors")
    result = run("bench", tmp_path / "empty.safetensors")
    assert result.exit_code == 2
    assert "no tensor has any data" in result.stderr
