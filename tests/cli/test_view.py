"""`taut view`."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import pytest


def test_it_keeps_a_page_or_opens_the_browser(
    run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: opened.append(url) or True)
    page = tmp_path / "page.html"
    assert run("view", model, "-o", page).stdout == f"{page}\n"
    assert page.read_text().startswith("<!doctype html>") and opened == []
    assert run("view", model, "-o", page).exit_code != 0  # it exists
    shown = run("view", model)
    assert shown.exit_code == 0 and opened == [Path(shown.stdout.strip()).as_uri()]
    monkeypatch.setattr(webbrowser, "open", lambda url: False)
    failed = run("view", model, "-q")
    assert failed.exit_code == 1 and "no browser" in failed.stderr


def test_what_is_no_model_is_told(run, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello there")
    failed = run("view", tmp_path / "a.txt", "-o", tmp_path / "p.html")
    assert failed.exit_code == 1 and "a.txt" in failed.stderr
    assert not (tmp_path / "p.html").exists()
