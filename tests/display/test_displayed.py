"""Verbs show their progress where somebody looks, and only there."""

import io
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import taut
from taut.display import displayed
from taut.errors import ArgumentError

WEIGHTS = {"w": np.zeros((64, 64), "f4")}


def look(monkeypatch):
    """Let somebody look: after `capsys`, whose stderr it is."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")


def test_without_a_terminal_there_is_nothing(capsys):
    taut.compress(WEIGHTS, io.BytesIO())
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_there_are_bars(capsys, monkeypatch):
    look(monkeypatch)
    taut.compress(WEIGHTS, io.BytesIO())
    out, err = capsys.readouterr()
    assert out == "" and "encode" in err and "verify" in err


def test_false_is_quiet_and_a_function_is_told_instead(capsys, monkeypatch):
    look(monkeypatch)
    seen = []
    taut.compress(WEIGHTS, io.BytesIO(), progress=False)
    taut.compress(WEIGHTS, io.BytesIO(), progress=lambda *step: seen.append(step))
    assert capsys.readouterr() == ("", "")
    assert seen == [("encode", 1, 1), ("verify", 1, 1)]


def test_verify_decompress_and_diff_tell_their_progress(tmp_path):
    packed = io.BytesIO()
    taut.compress(WEIGHTS, packed)
    seen = []
    listen = lambda *step: seen.append(step)  # noqa: E731
    taut.verify(packed, progress=listen)
    taut.decompress(packed, io.BytesIO(), progress=listen)
    taut.diff(packed, WEIGHTS, progress=listen)
    decoded = [("decode", 0, 16384), ("decode", 16384, 16384)]
    assert seen == [*decoded, *decoded, ("compare", 1, 1)]


def test_work_within_work_has_no_bars_of_its_own(monkeypatch):
    look(monkeypatch)
    with displayed(True) as outer, displayed(True) as inner:
        assert outer is not None and inner is None
    with displayed(True) as again:
        assert again is not None


def test_what_is_no_listener_is_refused():
    with pytest.raises(ArgumentError, match="progress: a int"), displayed(3):
        pass


def test_in_a_notebook_bars_are_plain_html_that_goes_away(monkeypatch):
    shown = []
    handle = SimpleNamespace(update=shown.append)

    def display(html, *, display_id):
        shown.append(html)
        return handle

    shell = SimpleNamespace(config={"IPKernelApp": {}})
    fake = SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", fake)
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(HTML=str, display=display))
    clock = iter(range(1000))
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    with displayed(True) as step:
        step("train loss <b>", 1, 4)
    assert "work" in shown[0]
    assert 'value="1" max="4"' in shown[1] and "loss &lt;b&gt;" in shown[1]
    assert shown[-1] == ""
