"""The user's own functions, found in files, and every way in which that fails."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from taut.errors import ArgumentError
from taut.networks import load_callable
from taut.networks.callables import call

Code = Callable[..., Path]


def test_a_function_is_found_and_its_file_imported_once(code: Code) -> None:
    path = code("""
        runs = []
        runs.append(1)
        def first(): return runs
        def second(): return runs
    """)
    first, second = load_callable(f"{path}:first"), load_callable(f"{path}:second")
    assert first() is second() == [1]


def test_a_file_that_changed_is_imported_anew(code: Code) -> None:
    assert load_callable(f"{code('def f(): return 1')}:f")() == 1
    path = code("def f(): return 2")  # within a second, and of the same size
    assert load_callable(f"{path}:f")() == 2
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_its_folder_is_on_the_path_only_meanwhile(code: Code, tmp_path: Path) -> None:
    code("VALUE = 7", "beside_this_test.py")
    before = list(sys.path)
    path = code("from beside_this_test import VALUE\ndef f(): return VALUE")
    assert load_callable(f"{path}:f")() == 7
    assert sys.path == before
    assert "beside_this_test" not in sys.modules


def test_a_dataclass_in_the_file_finds_its_module(code: Code) -> None:
    path = code("""
        from __future__ import annotations
        from dataclasses import dataclass
        @dataclass
        class Batch:
            x: int = 3
    """)
    assert load_callable(f"{path}:Batch")().x == 3  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("def batches(): ...", "batch", 'has no "batch"; nearest: batches'),
        ("x = 3", "x", "is an int, nothing to call"),
        ("import sys\n\nsys.exit(3)", "f", "import failed in line 3: SystemExit: 3"),
        ("def f():\n    return 1 / 0\nf()", "f", "import failed in line 2: ZeroDivisionError"),
        ("import no_such_module_here", "f", "import failed in line 1: ModuleNotFoundError: "),
        ("def f(:\n", "f", "import failed in line 1: SyntaxError"),
        ("def f(): ...", "", "name a function in a file as path/file.py:function"),
    ],
)
def test_mistakes_are_named(code: Code, text: str, name: str, message: str) -> None:
    path = code(text)
    with pytest.raises(ArgumentError) as caught:
        load_callable(f"{path}:{name}")
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_that_failed_is_tried_again(code: Code) -> None:
    path = code(
        "import os\nif 'TAUT_TEST' not in os.environ: raise OSError('not yet')\ndef f(): ..."
    )
    with pytest.raises(ArgumentError, match="not yet"):
        load_callable(f"{path}:f")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TAUT_TEST", "1")
        assert callable(load_callable(f"{path}:f"))


def test_a_missing_file_names_its_neighbours(code: Code, tmp_path: Path) -> None:
    code("", "build.py")
    with pytest.raises(ArgumentError, match=r"buidl\.py: no such file; nearest: build\.py"):
        load_callable(f"{tmp_path / 'buidl.py'}:f")


@pytest.mark.parametrize("spec", ["build.txt:f", "build.py", "build", ""])
def test_what_has_not_the_form(spec: str) -> None:
    with pytest.raises(ArgumentError, match=r"path/file\.py:function"):
        load_callable(spec)


def test_a_call_that_fails_has_the_line(code: Code) -> None:
    path = code("""
        def inner(): raise KeyError("x")
        def f():
            inner()
        def g(x): ...
    """)
    with pytest.raises(ArgumentError, match="here: failed in line 2: KeyError: 'x'"):
        call(load_callable(f"{path}:f"), "here")
    with pytest.raises(ArgumentError, match="here: failed: TypeError: "):
        call(load_callable(f"{path}:g"), "here")


def test_what_taut_itself_refuses_passes_as_it_is() -> None:
    def refuses() -> None:
        raise ArgumentError("mine")

    with pytest.raises(ArgumentError, match=r"^mine$"):
        call(refuses, "here")
