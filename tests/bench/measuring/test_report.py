"""What is written under a table can be typed again."""

import sys
from types import SimpleNamespace

from bench.measuring import report


def test_the_command_is_the_one_that_runs_the_script_again(monkeypatch):
    main = SimpleNamespace(__spec__=SimpleNamespace(name="bench.lossy.grids"))
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.setattr(sys, "argv", ["/home/me/bench/lossy/grids.py", "--quick", "a b"])
    assert report.command() == "python -m bench.lossy.grids --quick 'a b'"
    assert report.RESULTS.parent.name == "bench" and (report.RESULTS / "grids.json").is_file()
