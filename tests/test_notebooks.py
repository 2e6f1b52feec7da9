"""The notebooks of `examples/` run from top to bottom, in a folder of their own, and stay small."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOKS = sorted(path.name for path in EXAMPLES.glob("*.ipynb"))
MOST = 100_000  # bytes of a cell's outputs together
NEEDS = {"semantic_search.ipynb": ("minilm",)}  # what has to be installed for it


def cells(name: str) -> list[dict]:
    return json.loads((EXAMPLES / name).read_text(encoding="utf-8"))["cells"]


def sources(name: str) -> Iterator[str]:
    """The code of each cell that has code."""
    return ("".join(cell["source"]) for cell in cells(name) if cell["cell_type"] == "code")


def run(source: str, names: dict[str, object]) -> object:
    """Run a cell as a notebook does; gives the value of its last line, if that is an expression."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<cell>", "exec"), names)
    if last is None:
        return None
    return eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)  # type: ignore[attr-defined]


def test_there_are_notebooks_and_the_docs_name_them() -> None:
    assert len(NOTEBOOKS) >= 3
    listed = (EXAMPLES.parent / "docs" / "README.md").read_text(encoding="utf-8")
    assert [name for name in NOTEBOOKS if name not in listed] == []


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_small_and_whole(name: str) -> None:
    for cell in cells(name):
        assert len(json.dumps(cell.get("outputs", []))) < MOST
        assert not any(out["output_type"] == "error" for out in cell.get("outputs", []))
    for source in sources(name):
        compile(source, name, "exec")


@pytest.mark.slow("trains, calibrates and judges networks")
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    for fixture in NEEDS.get(name, ()):
        request.getfixturevalue(fixture)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "notebook"}
    for source in sources(name):
        shown = run(source, names)
        if hasattr(shown, "_repr_html_"):
            assert len(shown._repr_html_() or "") < MOST
