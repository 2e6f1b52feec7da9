"""`taut frontier`: a table of what each byte buys, as text, JSON, CSV and a page."""

import csv
import json
import textwrap

import pytest

from taut.cli._frontier import frontier_path, listed
from taut.verbs.frontier import JOURNAL

NETWORK = """
    import torch

    def model():
        torch.manual_seed(0)
        layers = torch.nn.Linear(32, 64), torch.nn.ReLU(), torch.nn.Linear(64, 48)
        return torch.nn.Sequential(*layers)

    def batches():
        return list(torch.randn(32, 32, generator=torch.Generator().manual_seed(1)).split(8))

    def score(net):
        wanted = model()
        return 1 - float(sum((net(x) - wanted(x)).square().mean() for x in batches()))

    def perplexity(net):
        return {"nll": [2 - score(net)] * 4}

    def stopped(net):
        stopped.calls += 1
        if stopped.calls == 3:
            raise KeyboardInterrupt
        return score(net)
    stopped.calls = 0
"""


@pytest.fixture
def build(tmp_path):
    pytest.importorskip("torch")
    path = tmp_path / "build.py"
    path.write_text(textwrap.dedent(NETWORK))
    return path


def test_points_are_on_stdout_and_the_talk_on_stderr(run, model):
    result = run("frontier", model, "--bits", "3,5", "--schemes", "int8,int4:g64,asym")
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0][:5] == ["file", "size", "ratio", "bits", "weight"]
    assert [line[0] for line in lines[1:]] == ["3", "int4:g64,asym", "5", "int8", "original"]
    assert "knee" in result.stdout
    assert "measure    weight fidelity" in result.stderr
    assert "knee       " in result.stderr
    assert "4 points in" in result.stderr
    assert sorted(path.name for path in model.parent.iterdir()) == [model.name]


def test_a_score_decides_and_files_are_kept(run, build):
    out = build.parent / "out"
    result = run(
        *("frontier", f"{build}:model", "--score", f"{build}:score", "-o", out),
        *("--points", 3, "--to", 6, "--schemes", "none", "--max-drop", "0.5%", "-q"),
    )
    assert result.exit_code == 0
    assert result.stderr == ""
    rows = [line.split() for line in result.stdout.splitlines()]
    assert [row[:2] for row in rows[1:-1]] == [["2", "bits"], ["3.46", "bits"], ["6", "bits"]]
    names = {"2-bits", "3.46-bits", "6-bits"}
    files = {f"{name}.taut.safetensors" for name in names} | {JOURNAL}
    assert {path.name for path in out.iterdir()} == files


def test_json_and_csv_have_the_same_points(run, build):
    path = build.parent / "points.csv"
    result = run(
        *("frontier", f"{build}:model", "--score", f"{build}:perplexity"),
        *("--bits", "2,4", "--schemes", "int8", "--json", "--csv", path),
    )
    tree = json.loads(result.stdout)
    rows = list(csv.DictReader(path.open()))
    assert [row["name"] for row in rows] == ["2 bits", "4 bits", "int8", "original"]
    for row, point in zip(rows, [*tree["points"], tree["original"]], strict=True):
        assert int(row["size"]) == point["size"]
        assert float(row["score"]) == point["metrics"][0]["value"]
        assert row["better"] == "lower"
        assert row["pareto"] == str(int(point["name"] in tree["pareto"]))
    assert float(rows[0]["drop"]) > float(rows[1]["drop"]) > 0  # a perplexity that went up
    assert tree["knee"] in tree["pareto"]


def test_the_smallest_within_a_drop_is_named(run, model):
    options = ("--bits", "2,4", "--schemes", "int8", "--max-drop")
    assert "smallest   at most 2% lost: 4 bits" in run("frontier", model, *options, "2%").stderr
    assert "no point loses so little" in run("frontier", model, *options, "0").stderr


def test_a_page_has_the_curve_and_the_file_at_the_knee(run, model):
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    folder = model.parent
    options = ("--bits", "2,3,4", "--schemes", "int8", "--html", folder / "report.html")
    result = run("frontier", model, *options, "--charts", folder / "charts", "-o", folder / "out")
    assert result.exit_code == 0
    text = (folder / "report.html").read_text()
    assert "<svg" in text
    assert "int8" in text
    assert "layer.weight" in text
    kinds = {path.suffix for path in (folder / "charts").iterdir()}
    assert kinds == {".svg", ".png"}


def test_what_was_interrupted_goes_on(run, build):
    options = ("frontier", f"{build}:model", "--bits", "2,4", "--schemes", "int8")
    options += ("--score", f"{build}:stopped")
    result = run(*options)
    assert result.exit_code == 130
    assert "  kept       1 finished point in " in result.stderr
    assert "the same command and --resume" in result.stderr
    journal = build.parent / "build.frontier.jsonl"
    assert len(journal.read_text().splitlines()) == 3  # the head, the original, a point
    again = run(*options)
    assert again.exit_code == 2
    assert "--resume" in again.stderr
    result = run(*options, "--resume", "--json")
    assert result.exit_code == 0
    assert len(json.loads(result.stdout)["points"]) == 3
    assert not journal.exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--bits", "2,x"), '--bits: "2,x" is no list of numbers'),
        (("--bits", "20"), "from 0.1 to 16"),
        (("--bits", "2", "--sizes", "8x"), "give one of them"),
        (("--schemes", "int9"), "unknown part"),
        (("--max-drop", "much"), "neither a percentage"),
        (("--score", "no.py:score"), "no such file"),
    ],
)
def test_wrong_usage_is_a_line_and_exit_code_2(run, model, options, told):
    result = run("frontier", model, "--schemes", "none", *options)
    assert told in result.stderr
    assert (result.exit_code, result.stdout) == (2, "")


def test_existing_outputs_are_left_alone(run, model):
    path = model.parent / "points.csv"
    path.write_text("mine")
    result = run("frontier", model, "--bits", "3", "--csv", path)
    assert (result.exit_code, path.read_text()) == (2, "mine")
    assert run("frontier", model, "--bits", "3", "--csv", path, "-f").exit_code == 0
    assert path.read_text().startswith("name,kind,asked_bits,size")


def test_lists_know_the_comma_of_a_scheme():
    assert listed("int4:g64,asym, int8,int4,asym") == ["int4:g64,asym", "int8", "int4,asym"]
    assert listed(None) is None


def test_points_are_beside_the_model(tmp_path):
    assert frontier_path(tmp_path / "net.safetensors") == tmp_path / "net.frontier.jsonl"
    assert frontier_path(tmp_path) == tmp_path.with_name(tmp_path.name + ".frontier.jsonl")
