"""The folders of the bench: no circle among them, and nothing imported that is not there."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATHS = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for path in (ROOT / "bench").rglob("*.py")
    if path.name != "__init__.py"
}
TREES = {name: ast.parse(path.read_text()) for name, path in PATHS.items()}


def imported(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield the module and the name of every import, of lazy ones and those for types too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (("." * node.level + (node.module or ""), a.name) for a in node.names)


def edges(tree: ast.Module) -> set[str]:
    """Return the bench's modules that one imports, whichever way it is written."""
    found = (f"{module}.{name}" for module, name in imported(tree) if module.startswith("bench"))
    return {name if name in PATHS else name.rpartition(".")[0] for name in found}


GRAPH = {name: edges(tree) for name, tree in TREES.items()}


def folder(module: str) -> str:
    return module.split(".")[1]


def test_every_module_stands_in_a_folder():
    assert {name.count(".") for name in PATHS} == {2}


def test_modules_make_no_circle():
    assert len(list(TopologicalSorter(GRAPH).static_order())) == len(PATHS)


def test_folders_make_no_circle():
    rooms: dict[str, set[str]] = {folder(name): set() for name in PATHS}
    for name, needed in GRAPH.items():
        rooms[folder(name)] |= {folder(one) for one in needed} - {folder(name)}
    assert set(TopologicalSorter(rooms).static_order()) == rooms.keys()


def test_what_a_module_imports_from_another_is_defined_there():
    missing = [f"{name}: {one}" for name, some in GRAPH.items() for one in some - PATHS.keys()]
    missing += [
        f"{name}: from {module} import {what}"
        for name, tree in TREES.items()
        for module, what in imported(tree)
        if module in PATHS and what not in defined(TREES[module])
    ]
    assert not missing


def test_modules_are_imported_by_their_whole_names():
    """Neither relative nor bare: a bare name is found only when its folder is on the path."""
    bare = {folder(name) for name in PATHS} | {name.rpartition(".")[2] for name in PATHS}
    wrong = [
        f"{name}: {module}"
        for name, tree in TREES.items()
        for module, _ in imported(tree)
        if module.split(".")[0] in bare or module.startswith(".")
    ]
    assert not wrong


def test_no_module_takes_what_is_private_to_another():
    taken = [
        f"{name}: from {module} import {what}"
        for name, tree in TREES.items()
        for module, what in imported(tree)
        if module.startswith("bench") and what.startswith("_")
    ]
    assert not taken


def defined(tree: ast.Module) -> set[str]:
    """Return the names that a module's own statements give."""
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {n.id for one in targets for n in ast.walk(one) if isinstance(n, ast.Name)}
    return found


def test_what_the_bench_imports_from_the_package_is_there():
    """Lazy imports too, which fail only where a table is measured."""
    asked = {one for tree in TREES.values() for one in imported(tree) if one[0].startswith("taut")}
    assert len(asked) > 20
    for module, what in sorted(asked):
        try:
            found = import_module(module)
        except ModuleNotFoundError as error:
            assert error.name and not error.name.startswith("taut"), module
            continue  # an extra that is not installed
        assert not what or hasattr(found, what) or find_spec(f"{module}.{what}"), (module, what)
