"""`taut compress` with calibration data: targets, talk, JSON, exit codes, resuming."""

import json
import re
import textwrap

import numpy as np
import pytest
from safetensors.numpy import save_file

from taut.encoding.run_needs import DataShapes, run_needs

BUILD = """
    import torch

    def model():
        torch.manual_seed(0)
        layers = torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 96)
        return torch.nn.Sequential(*layers)

    original = model()

    def batches():
        generator = torch.Generator().manual_seed(1)
        return [torch.randn(16, 64, generator=generator) for _ in range(5)]

    def score(net):
        far = sum((net(x) - original(x)).square().mean() for x in batches())
        return 100 - 100 * float(far.detach())

    def strict(net):
        return float(torch.equal(net[0].weight, original[0].weight))

    def broken(net):
        raise RuntimeError("no data set here")

    def later(net):
        if not torch.equal(net[0].weight, model()[0].weight):
            broken(net)
        return 1.0

    def words(net):
        return "good"
"""
CALIB = ("--calib", "BUILD:batches")


@pytest.fixture
def build(tmp_path):
    pytest.importorskip("torch")
    path = tmp_path / "build.py"
    path.write_text(textwrap.dedent(BUILD))
    return path


@pytest.fixture
def compress(run, build):
    """Run the command on the file's model; BUILD in an argument stands for the file."""

    def invoke(*args):
        args = [str(arg).replace("BUILD", str(build)) for arg in args]
        return run("compress", f"{build}:model", *args)

    return invoke


def test_a_score_is_kept_and_told(compress, tmp_path):
    result = compress(
        *CALIB, "--score", "BUILD:score", "--max-drop", "1%", "--no-finish", "--json", "--seed", 1
    )
    assert result.exit_code == 0
    lines = [line.split(maxsplit=1) for line in result.stderr.splitlines()]
    labels = [label for label, _ in lines]
    assert labels[:2] == ["model", "plan"]
    assert {"curvature", "quantize", "encode", "verify"} <= {*labels}
    assert labels[-1] == "size"
    assert "peak memory about" in lines[0][1] and "disk from" in lines[0][1]
    assert "max drop 1%, calibrated on" in lines[1][1]
    report = json.loads(result.stdout)
    scores = [one["score"] for one in report["tries"]]
    told = [float(rest.split()[0].rstrip(",")) for label, rest in lines if label == "score"]
    assert told == pytest.approx(scores, rel=1e-5)
    first = next(rest for label, rest in lines if label == "score")
    assert re.search(r" at [\d.]+ kB \([\d.]+x\), try 1 of at most 12$", first.strip())
    assert report["original_score"] == 100
    assert 99 <= report["score"] < 100 and report["score"] in scores
    judged = next(rest for label, rest in lines if label == "judged")
    assert judged == f"100.00 -> {report['score']:.2f} ({report['score'] - 100:+.2f})"
    assert "identical to what was evaluated" in result.stderr
    assert isinstance(report["notes"], list)
    assert report["size"] == (tmp_path / "build.taut.safetensors").stat().st_size


def test_a_size_with_a_score_beside_it(compress):
    report = json.loads(
        compress(*CALIB, "--bits", 4, "--score", "BUILD:score", "--no-finish", "--json").stdout
    )
    assert 0.99 * 4 <= report["bits"] <= 4
    assert report["tries"] == [] and 90 < report["score"] < 100


def test_a_score_out_of_reach_exits_3_with_the_best(compress, tmp_path):
    result = compress(*CALIB, "--score", "BUILD:strict", "--max-drop", "0.5%", "--json")
    assert result.exit_code == 3
    told = json.loads(result.stdout)
    assert told["kind"] == "TargetError" and told["best"]["score"] == 0
    assert "the score 1 falls to 0" in result.stderr.splitlines()[-1]
    assert [path.name for path in tmp_path.glob("*taut*")] == []


def test_a_dry_run_estimates_and_writes_nothing(compress, build, tmp_path):
    result = compress(*CALIB, "--bits", 3, "--dry-run", "--json")
    assert result.exit_code == 0
    assert "finish" not in result.stderr
    assert 0.99 * 3 <= json.loads(result.stdout)["bits"] <= 3
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [build.name]


def test_a_plan_names_schemes_and_the_target(compress, tmp_path):
    plan = tmp_path / "plan.yaml"
    plan.write_text(
        "taut: 1\ntarget: {bits: 5}\nfinish: false\nrules:\n- {match: 0.weight, scheme: 'rd:3'}\n"
    )
    result = compress(*CALIB, "--plan", plan, "--json", "-v")
    report = json.loads(result.stdout)
    assert {t["name"]: t["scheme"] for t in report["tensors"]}["0.weight"] == "rd:3"
    assert 0.99 * 5 <= report["bits"] <= 5
    assert "plan.yaml" in result.stderr


def test_it_goes_on_where_it_broke_off(compress, tmp_path):
    journal = tmp_path / "build.taut.safetensors.journal"
    words = (*CALIB, "--bits", 4, "--no-finish")
    at_once = compress(*words, "--score", "BUILD:broken")
    assert "curvature" not in at_once.stderr
    broken = compress(*words, "--score", "BUILD:later")
    assert broken.exit_code == 2
    assert "score: failed: RuntimeError: no data set here" in broken.stderr.splitlines()[-1]
    assert journal.is_dir()
    other = compress(*words[:3], 3, "--no-finish", "--resume")
    assert other.exit_code == 2
    assert "begun with another target" in other.stderr
    again = compress(*words, "--score", "BUILD:score", "--resume")
    assert again.exit_code == 0
    assert "curvature" not in again.stderr
    assert not journal.exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((*CALIB, "--bits", 3, "--score", "BUILD:words"), "gave a str"),
        ((*CALIB, "--max-drop", "1%"), "--score"),
        ((*CALIB, "--max-drop", "some", "--score", "BUILD:score"), '"some" is neither'),
        (CALIB, "give bits, size or max_drop"),
        (("--max-drop", "1%", "--score", "BUILD:score"), "give calib (--calib) too"),
        (("--calib", "BUILD:batch", "--bits", 3), "nearest: batches"),
        ((*CALIB, "--bits", 3, "--score", "BUILD:scor"), "nearest: score"),
        ((*CALIB, "--bits", 3, "--loss", "BUILD:los"), 'has no "los"'),
    ],
)
def test_mistakes_are_told_in_a_line_and_exit_2(compress, tmp_path, options, told):
    result = compress(*options)
    assert result.exit_code == 2
    assert told in result.stderr.splitlines()[-1]
    assert not (tmp_path / "build.taut.safetensors").exists()


def test_code_alone_is_compressed_without_loss(compress, run, tmp_path):
    assert compress("-q").exit_code == 0
    small = tmp_path / "build.taut.safetensors"
    assert json.loads(run("info", small, "--json").stdout)["parameters"] == 65 * 128 + 129 * 96


def test_what_is_refused_is_not_foretold(run, tmp_path):
    rng = np.random.default_rng(0)
    folder, texts, bad = tmp_path / "net", tmp_path / "texts.txt", tmp_path / "bad.jsonl"
    folder.mkdir()
    texts.write_text("A text.\n")
    bad.write_text('{"no": 1}\n')
    weights = {f"model.layers.{n}.a.weight": rng.standard_normal((8, 576), "f4") for n in range(9)}
    save_file(weights, folder / "model.safetensors")
    out = tmp_path / "out"
    for asked in (["--calib", texts], ["--calib", bad]):
        result = run("compress", folder, "--bits", 3, "-o", out, *asked)
        assert result.exit_code == 2
        assert "taut: " in result.stderr and "peak memory" not in result.stderr
        assert not out.exists()


def test_a_narrow_model_is_not_foretold_to_run_on_endless_batches():
    shapes = {f"layers.{n}.weight": (8, 576) for n in range(120)}
    assert run_needs(shapes, DataShapes(0), narrow=False).memory < 8e9
