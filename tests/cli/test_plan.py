"""`taut plan`: a plan on stdout or in a file, and targets that cannot be met."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from taut.planning import load_plan
from taut.planning.plan import read_plan


@pytest.fixture
def layers(tmp_path, rng):
    tensors = {f"h.{i}.weight": rng.standard_normal((64, 64)) for i in range(4)}
    tensors |= {f"h.{i}.bias": rng.standard_normal(64) for i in range(4)}
    path = tmp_path / "layers.safetensors"
    save_file({name: values.astype(np.float32) for name, values in tensors.items()}, path)
    return path


def test_the_plan_is_what_stdout_has(run, layers):
    result = run("plan", layers, "--bits", "3")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[:2] == ["taut: 1", "target: {bits: 3.0}"]
    plan = read_plan(result.stdout)
    assert [(rule.match, str(rule.scheme)) for rule in plan.rules] == [
        ("*.bias", "fp16"),
        ("h.*.weight", "rd"),
    ]
    assert "  # 4 tensors, 16,384 values, 2." in result.stdout
    assert "estimate   67.1 kB -> " in result.stderr


def test_the_plan_is_written_whole_and_not_over_another(run, layers, tmp_path):
    path = tmp_path / "plan.yaml"
    result = run("plan", layers, "--size", "10x", "--max-drop", "0.5%", "-o", path, "-q")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")
    plan = load_plan(path)
    assert plan.target is not None
    assert (plan.target.size, plan.target.max_drop) == ("10x", "0.5%")
    before = path.read_bytes()
    assert run("plan", layers, "--size", "5x", "-o", path).exit_code == 2
    assert path.read_bytes() == before
    assert run("plan", layers, "--size", "5x", "-o", path, "-f").exit_code == 0
    assert path.read_bytes() != before


def test_json_has_the_plan_and_the_bits(run, layers):
    found = json.loads(run("plan", layers, "--bits", "3", "--seed", "4", "--json").stdout)
    assert found["plan"]["seed"] == 4
    assert found["plan"]["rules"][0]["match"] == "*.bias"
    assert 0 < found["bits"]["h.0.bias"] <= 16  # fp16, as it is coded
    assert found["size"] == pytest.approx(3 * (4 * 64 * 64 + 4 * 64) / 8, rel=0.01)
    assert found["path"] is None


@pytest.mark.parametrize("as_json", [False, True])
def test_an_unreachable_target_exits_3_with_the_nearest(run, layers, as_json):
    result = run("plan", layers, "--size", "200", *(["--json"] if as_json else []))
    assert result.exit_code == 3
    assert "200 bytes) cannot be met: with every matrix zero" in result.stderr
    if as_json:
        assert json.loads(result.stdout)["kind"] == "TargetError"
    else:
        assert result.stdout == ""


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "give size, bits or max_drop"),
        (["--size", "8y"], "none of a ratio"),
        (["--size", "8x", "--bits", "2"], "same thing"),
        (["--max-drop", "little"], "percentage of the score"),
        (["--bits", "nan"], "bits"),
    ],
)
def test_what_means_nothing_exits_2_before_the_model_is_read(run, layers, options, told):
    result = run("plan", layers, *options)
    assert result.exit_code == 2
    assert told in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


def test_a_drop_is_a_share_of_the_score_or_a_number(run, layers):
    assert "target: {max_drop: 0.5%}" in run("plan", layers, "--max-drop", "0.5%").stdout
    assert "target: {max_drop: 0.005}" in run("plan", layers, "--max-drop", "0.005").stdout
