"""The classic tables: honest sums over seeds, beside what others published."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from bench.classics.field import FIELD, Published  # noqa: E402
from bench.classics.measure import chosen, main, put  # noqa: E402
from bench.classics.rows import ROWS, TABLES, Row  # noqa: E402
from bench.classics.table import line_of, met, published, tables  # noqa: E402
from bench.measuring import report  # noqa: E402

ROW = Row("lenet300-120x", "lenet300", None, 120, error=1.6)


def run(seed: int = 0, after: float = 1.55, ratio: float = 121.0, **more) -> dict[str, object]:
    nbytes = round(1_066_440 / ratio)
    known = {"row": ROW.name, "seed": seed, "budget": "full", "epochs": 3, "seconds": 60.0}
    known |= {"bytes": nbytes, "ratio": ratio, "ratio_to_file": 1.01 * ratio}
    return known | {"error_before": 1.49, "error_after": after, "lost": after - 1.49} | more


def test_what_is_asked_is_met_by_size_and_error_together():
    assert met(ROW, run()) and met(ROW, run(after=1.6, ratio=120.0))
    assert not met(ROW, run(after=1.61)) and not met(ROW, run(ratio=119.9))
    lost = replace(ROW, error=None, lost=0.5)
    assert met(lost, run(after=1.99)) and not met(lost, run(after=2.0))


def test_a_line_is_the_mean_of_its_seeds_with_the_least_and_the_most():
    line = line_of(ROW, [run(0, 1.5), run(1, 1.6), run(2, 1.7)])
    assert line["after"] == "1.60 (1.50 to 1.70)" and line["met"] == "2 of 3"
    assert line["bytes"] == "8,814" and line["ratio"] == "121.0x" and line["from"] == "3 seeds"


def test_a_failed_seed_is_counted_and_not_averaged():
    failed = {"row": ROW.name, "seed": 1, "error": "TargetError: no"}
    line = line_of(ROW, [run(0, 1.5), failed])
    assert line["after"] == "1.50" and line["met"] == "1 of 2"
    assert line["from"] == "seed 0, 1 failed"
    assert line_of(ROW, [failed])["from"] == "TargetError: no"


def test_the_field_stands_before_ours_under_the_same_title():
    lines = tables([run(budget="quick")]).splitlines()
    assert lines[0] == "### LeNet-300-100, MNIST"
    methods = [line.split("|")[1].strip() for line in lines[4:8]]
    assert methods == [*(p.method for p in FIELD[lines[0][4:]]), ROW.name]
    assert lines[7].split("|")[-2].strip() == "seed 0, quick"
    assert "LeNet-5" not in "".join(lines)  # nothing of it was measured


def test_counts_that_flatter_are_marked():
    point = Published("m", "s", None, 1.92, 68, counts="parameters")
    assert published(point)["ratio"] == "68x (parameters)" and published(point)["bytes"] is None


def test_latency_has_a_column_only_where_it_was_measured():
    line = {"row": "resnet20-half-channels", "faster": {"1": 1.234, "64": 1.5}}
    text = tables([run() | line])
    assert "times as fast (batch)" in text and "1.23 (1), 1.50 (64)" in text
    assert "times as fast" not in tables([run()])


def test_tables_hold_every_row_and_the_field_is_under_their_titles():
    names = [name for table in TABLES.values() for name in table]
    assert set(names) == {row.name for row in ROWS} and FIELD.keys() <= TABLES.keys()
    assert len({row.name for row in ROWS}) == len(ROWS)


def test_a_new_run_takes_the_place_of_its_seed_alone():
    rows = put(put([run(0), run(1)], run(1, after=9.0)), run(2))
    assert [(r["seed"], r["error_after"]) for r in rows] == [(0, 1.55), (1, 9.0), (2, 1.55)]


def test_rows_are_chosen_by_name_or_by_subject():
    assert [row.name for row in chosen(["lenet5-500x"], ["lenet300"])] == ["lenet5-500x"]
    assert {row.task for row in chosen([], ["lenet5"])} == {"lenet5"}


def test_an_update_keeps_what_was_measured_before(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    report.save("classics", [run()])
    main(["--show", "--threads", "1"])
    out = capsys.readouterr().out
    assert "1.55" in out and "Command: `python -m " in out
