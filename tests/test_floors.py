"""The house rules that a reader can check by eye and a test checks every time.

A module imports only from its own floor or from floors below; what an extra brings is imported
inside functions; nothing unpickles; only bindings.cpp knows nanobind.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "taut"
FLOORS = {
    **{path.stem: 9 for path in PACKAGE.glob("*.py")},  # what compress.py is made of
    "_core": 0,  # bytes and integers: below everything
    "errors": 0,
    "scheme": 0,
    "coding": 1,
    "io": 2,
    "container": 3,
    "analyze": 4,
    "transform": 5,
    "evaluate": 6,
    "plan": 7,
    "export": 8,
    "compress": 9,
    "__init__": 9,  # the verbs
    "demo": 9,
    "calibrate": 9,
    "inputs": 9,
    "hf": 9,
    "on_demand": 9,
    "training": 9,
    "cli": 10,
    "__main__": 10,
}
# Rooms of PyTorch, whose classes are its own: imported inside functions by everybody else.
TORCH = ("transform.train", "training", "on_demand", "hf")
PICKLES = {"pickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    """Dotted name of a source file's module, below the package: `io.safetensors`."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def imports(tree: ast.AST, module: str) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of everything that a module imports, wherever it does."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            package = ["taut", *module.split(".")][: -node.level] if node.level else []
            source = ".".join([*package, *([node.module] if node.module else [])])
            for alias in node.names:
                # `from taut import io` names a room, `from taut.io import x` is in one.
                yield node.lineno, f"{source}.{alias.name}" if source == "taut" else source


def room(imported: str) -> str:
    """Room of the house that an absolute name below `taut` lies in."""
    parts = imported.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in FLOORS else "__init__"


def violations(source: str, module: str) -> list[str]:
    """Imports from floors above the module's own."""
    own = FLOORS[module.split(".")[0]]
    return [
        f"{module}, line {line}: floor {own} imports {imported}, floor {FLOORS[room(imported)]}"
        for line, imported in imports(ast.parse(source), module)
        if imported.split(".")[0] == "taut" and FLOORS[room(imported)] > own
    ]


def test_every_room_has_a_floor() -> None:
    rooms = {name_of(path).split(".")[0] for path in MODULES}
    assert rooms <= set(FLOORS), "give the new room a floor here, and say so in CONTRIBUTING.md"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_only_from_its_own_floor_or_below(path: Path) -> None:
    assert violations(path.read_text(encoding="utf-8"), name_of(path)) == []


@pytest.mark.parametrize(
    ("module", "source", "held"),
    [
        ("io.source", "from taut.coding import encode_lossless", True),
        ("io.source", "from taut.io.dtypes import dtype_name", True),
        ("io.source", "from .dtypes import dtype_name", True),
        ("io.source", "import numpy", True),
        ("io.source", "from taut.container import TautFile", False),
        ("io.source", "from ..container import TautFile", False),
        ("io.source", "from .. import plan", False),
        ("io.source", "def f():\n    import taut.compress", False),
        ("io.source", "from taut import compress", False),
        ("errors", "import taut", False),
        ("compress", "import taut.cli.app", False),
        ("cli.app", "import taut", True),
    ],
)
def test_the_rule_sees_every_way_to_import(module: str, source: str, held: bool) -> None:
    assert (violations(source, module) == []) is held


def at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """Nodes that run when the module is imported (not those for type checkers only)."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            node = ast.Module(node.orelse, [])
        yield node
        yield from at_import(node)


def in_torch(module: str) -> bool:
    """Whether a module is one of those that may import torch when they are imported."""
    return any(module == room or module.startswith(f"{room}.") for room in TORCH)


def core_dependencies() -> set[str]:
    """Names under which the dependencies of the core install are imported."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {re.match(r"[\w-]+", line)[0] for line in project["dependencies"]}  # type: ignore[index]
    return {{"PyYAML": "yaml"}.get(name, name) for name in names}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_what_an_extra_brings_is_imported_inside_functions(path: Path) -> None:
    allowed = core_dependencies() | set(sys.stdlib_module_names) | {"taut"}
    if name_of(path).split(".")[0] != "cli":
        allowed -= {"typer", "rich"}
    if in_torch(name_of(path)):
        allowed.add("torch")
    if name_of(path) == "hf":
        allowed.add("transformers")
    for node in at_import(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found = {name.split(".")[0] for _, name in imports(node, name_of(path))}
            assert found <= allowed, f"line {node.lineno}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_rooms_of_torch_are_entered_inside_functions(path: Path) -> None:
    if in_torch(name_of(path)):
        return
    for node in at_import(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for line, name in imports(node, name_of(path)):
                assert not in_torch(name.removeprefix("taut.")), f"line {line}"


def test_the_core_install_asks_for_nothing_it_does_not_use() -> None:
    used = set()
    for path in MODULES:
        if name_of(path).split(".")[0] != "demo":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            used |= {name.split(".")[0] for _, name in imports(tree, name_of(path))}
    assert core_dependencies() <= used


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_unpickles(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not {name.split(".")[0] for _, name in imports(tree, name_of(path))} & PICKLES
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
            options = {word.arg: ast.unparse(word.value) for word in node.keywords}
            assert options.get("weights_only") == "True", f"line {node.lineno}"


def test_only_the_bindings_know_python() -> None:
    for path in sorted((ROOT / "csrc").glob("*.[ch]pp")):
        if path.name != "bindings.cpp":
            assert not re.search(r"#\s*include\s*[<\"](nanobind|Python\.h)", path.read_text()), path
