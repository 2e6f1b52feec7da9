"""`taut analyze`: what it shows of a model, and of what rounding it would cost."""

import json
import textwrap

import numpy as np
import pytest
from safetensors.numpy import save_file

NETWORK = """
    import torch

    def model():
        torch.manual_seed(0)
        layers = torch.nn.Linear(32, 64), torch.nn.ReLU(), torch.nn.Linear(64, 48)
        return torch.nn.Sequential(*layers)

    def batches():
        generator = torch.Generator().manual_seed(1)
        return [torch.randn(8, 32, generator=generator) for _ in range(4)]

    def score(net):
        return -float(sum(net(x).square().mean() for x in batches()))

    def loss(output, batch):
        return output[:, 0].square()

    def empty():
        return []
"""


@pytest.fixture
def build(tmp_path):
    pytest.importorskip("torch")
    path = tmp_path / "build.py"
    path.write_text(textwrap.dedent(NETWORK))
    return path


def test_tensors_schemes_and_totals_are_on_stdout(run, model):
    result = run("analyze", model)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split()[:4] == ["name", "shape", "dtype", "size"]
    assert lines[1].split()[:5] == ["layer.weight", "64x256", "F32", "65.5", "kB"]
    head = next(number for number, line in enumerate(lines) if line.startswith("matrices as"))
    assert [line.split()[0] for line in lines[head + 1 : head + 8]] == [
        *("rd:2", "rd:3", "rd:4", "int3", "int4:g128", "int8", "fp16"),
    ]
    assert lines[-1].startswith("4 tensors, 17.0 k parameters, ")
    assert "gain" not in lines[0]


def test_top_takes_the_largest_and_zero_takes_all(run, model):
    def names(*options):
        lines = run("analyze", model, *options).stdout.split("\n\n")[0].splitlines()
        return [line.split()[0] for line in lines[1:]]

    assert names("--top", 2) == ["layer.weight", "ids"]
    assert len(names("--top", 0)) == 4


def test_quiet_is_the_summary_alone(run, model):
    result = run("analyze", model, "-q")
    assert len(result.stdout.splitlines()) == 1
    assert result.stderr == ""


def test_json_is_the_report(run, model, tmp_path):
    result = run("analyze", model, "--json", "-o", tmp_path / "report.json")
    report = json.loads(result.stdout)
    assert json.loads((tmp_path / "report.json").read_text()) == report
    assert report["parameters"] == 64 * 256 + 64 + 1 + 512
    weight = next(one for one in report["tensors"] if one["name"] == "layer.weight")
    assert weight["predictions"]["int4:g128"]["bits"] == 4 + 16 / 128
    assert weight["predictions"]["int4:g128"]["loss"] is None
    assert (report["calibrated"], report["measured"]) == (None, None)


def test_a_report_is_not_overwritten_unasked(run, model, tmp_path):
    path = tmp_path / "report.json"
    path.write_text("mine")
    result = run("analyze", model, "-o", path)
    assert result.exit_code == 2
    assert path.read_text() == "mine"
    assert "read" not in result.stderr  # refused before the work
    assert run("analyze", model, "-o", path, "-f", "-q").exit_code == 0
    assert json.loads(path.read_text())["version"] == 1


def test_calibration_tells_the_loss_and_ranks_by_it(run, build):
    result = run("analyze", f"{build}:model", "--calib", f"{build}:batches")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split()[-6:] == ["lossless", "gain", "loss", "rd:3", "of", "it"]
    shares = [float(line.split()[-2]) for line in lines[1:3]]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(100, abs=0.2)
    assert "calibrated on 32 samples" in result.stdout
    assert "curvature  4/4" in result.stderr


def test_a_measured_drop_stands_beside_its_prediction(run, build):
    options = ("--calib", f"{build}:batches", "--score", f"{build}:score", "--measure")
    report = json.loads(run("analyze", f"{build}:model", *options, "--json").stdout)
    assert (report["measured"]["by"], report["measured"]["scheme"]) == ("score", "rd:2")
    drops = [one["drop"] for one in report["tensors"] if one["name"].endswith("weight")]
    assert None not in drops
    text = run("analyze", f"{build}:model", *options, "--scheme", "int3").stdout
    assert "each tensor alone rounded by int3; rank correlation with the predicted loss" in text
    assert text.splitlines()[0].endswith("  measured")


def test_a_loss_of_ones_own_changes_what_counts(run, build):
    def rows(*options):
        command = ("analyze", f"{build}:model", "--calib", f"{build}:batches", "--json", *options)
        report = json.loads(run(*command).stdout)
        last = next(one for one in report["tensors"] if one["name"] == "2.weight")
        return last["sensitivity"]["effective_rows"]

    assert rows() > 20  # all 48 outputs count
    assert rows("--loss", f"{build}:loss") == pytest.approx(1, abs=0.01)  # one output counts


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--measure"], "give calib or score"),
        (["--calib", "BUILD:empty"], "no batches"),
        (["--calib", "BUILD:batch"], "nearest: batches"),
        (["--measure", "--score", "BUILD:score", "--scheme", "imt4"], "nearest: int4"),
        (["--calib", "none.txt"], "none.txt"),
    ],
)
def test_mistakes_are_told_in_a_line_and_exit_2(run, build, options, told):
    options = [option.replace("BUILD", str(build)) for option in options]
    result = run("analyze", f"{build}:model", *options)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert told in result.stderr.splitlines()[-1]


def test_weights_alone_cannot_be_calibrated(run, model, build):
    result = run("analyze", model, "--calib", f"{build}:batches")
    assert result.exit_code == 2
    assert "holds weights alone" in result.stderr


def test_what_is_special_is_told_once_for_tensors_alike(run, tmp_path, rng):
    weights = rng.standard_normal((64, 64)).astype(np.float32)
    tensors = {f"h.{i}.w": weights for i in range(4)} | {"broken": weights.copy()}
    tensors["broken"][1, 2] = np.nan
    save_file(tensors, tmp_path / "net.safetensors")
    lines = run("analyze", tmp_path / "net.safetensors", "-q").stdout.splitlines()
    assert lines[1:] == [
        "broken: 1 NaN and 0 infinite values, so it stays lossless",
        "h.1.w: has the values of h.0.w (and 2 tensors more likewise)",
    ]
