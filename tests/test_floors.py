"""The house: which room stands on which floor, and the walls between them.

A module imports only from its own room or from rooms below. What an extra brings is imported
inside functions; nothing unpickles. Each check is one test over all files, and names every file
that breaks the rule.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "taut"
# From the ground up, one room a floor; what needs nothing else shares the ground.
HOUSE = (
    ("_core", "errors", "extras", "pictured", "progress", "scheme", "version"),
    ("machine",),
    ("coding",),
    ("io",),
    ("container",),
    ("networks",),
    ("analysis",),
    ("transform",),
    ("planning",),
    ("encoding",),
    ("journal",),
    ("loading",),
    ("scoring",),
    ("calibration",),
    ("training",),
    ("exporting",),
    ("compression",),
    ("sweep",),
    ("evaluation",),
    ("reporting",),
    ("display",),
    ("verbs",),
    ("__init__", "hf"),  # the verbs and the plug-in, as users import them
    ("demo",),
    ("cli",),
    ("__main__",),
)
FLOORS = {room: floor for floor, rooms in enumerate(HOUSE) for room in rooms}
# Rooms of PyTorch, whose classes are its own: imported inside functions by everybody else.
TORCH = ("training", "loading.on_demand", "loading.hf_quantizer", "coding.gpu", "hf")
PICKLES = {"pickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
MODULES = sorted(PACKAGE.rglob("*.py"))
# File names that stand in several rooms since they are the same idea there.
SAME_IDEA = {
    *("analyze", "compress", "decompress", "diff", "export", "frontier", "info", "load"),  # verbs
    *("plan", "push", "report", "verify", "__init__"),
    "request",  # what was asked for, read and frozen
    "run",  # the steps of long work
    "safetensors",  # the format, read and written
    "write",  # the file of a format
}


@cache
def tree_of(path: Path) -> ast.Module:
    """The parsed source of a module."""
    return ast.parse(path.read_text(encoding="utf-8"))


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
                yield node.lineno, f"{source}.{alias.name}"
        elif isinstance(node, ast.Call) and node.args:
            called, name = ast.unparse(node.func), node.args[0]
            by_name = called.endswith("import_module") or called == "__import__"
            if by_name and isinstance(name, ast.Constant) and isinstance(name.value, str):
                yield node.lineno, name.value


def room(imported: str) -> str:
    """Room of the house that an absolute name below `taut` lies in."""
    parts = imported.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in FLOORS else "__init__"


def rising(tree: ast.AST, module: str) -> list[str]:
    """Imports from floors above the module's own."""
    own = FLOORS[module.split(".")[0]]
    return [
        f"{module}, line {line}: floor {own} imports {imported}, floor {FLOORS[room(imported)]}"
        for line, imported in imports(tree, module)
        if imported.split(".")[0] == "taut" and FLOORS[room(imported)] > own
    ]


def private(tree: ast.AST, module: str) -> list[str]:
    """Names that begin with an underscore and are imported from another room."""
    return [
        f"{module}, line {line}: {imported} is private to its room"
        for line, imported in imports(tree, module)
        if imported.split(".")[0] == "taut"
        and room(imported) != module.split(".")[0]
        and any(re.match(r"_(?!core$|_)", part) for part in imported.split("."))
    ]


def at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """Nodes that run when the module is imported (not those for type checkers only)."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            node = ast.Module(node.orelse, [])
        yield node
        yield from at_import(node)


def needed(path: Path) -> Iterator[tuple[int, str]]:
    """Line and name of what is imported when the module is."""
    for node in at_import(tree_of(path)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from imports(node, name_of(path))


def in_torch(module: str) -> bool:
    """Whether a module is one of those that may import torch when they are imported."""
    return any(module == one or module.startswith(f"{one}.") for one in TORCH)


def core_dependencies() -> set[str]:
    """Names under which the dependencies of the core install are imported."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {re.match(r"[\w-]+", line)[0] for line in project["dependencies"]}  # type: ignore[index]
    return {{"PyYAML": "yaml"}.get(name, name) for name in names}


def classes_anew(tree: ast.AST, module: str) -> list[str]:
    """Classes that a function makes each time it is called.

    A class is a cycle: what it, or a method by its closure, knows stays until the collector runs,
    and that counts objects, not the gigabytes behind them.
    """
    functions = [one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef)]
    return [
        f"{module}, line {inner.lineno}: {inner.name} is made anew by each {one.name}()"
        for one in functions
        if not any(ast.unparse(name) == "cache" for name in one.decorator_list)
        for inner in one.body
        if isinstance(inner, ast.ClassDef)
    ]


def calls_itself(tree: ast.AST, module: str) -> list[str]:
    """Functions in functions that call themselves: cycles as well, through their own closure."""
    outer = [one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef)]
    return [
        f"{module}, line {inner.lineno}: {inner.name}"
        for one in outer
        for inner in one.body
        if isinstance(inner, ast.FunctionDef)
        and any(isinstance(n, ast.Name) and n.id == inner.name for n in ast.walk(inner))
    ]


def test_every_room_has_a_floor() -> None:
    rooms = {name_of(path).split(".")[0] for path in MODULES}
    assert rooms - set(FLOORS) == set(), "give it a floor here, and say so in CONTRIBUTING.md"
    assert set(FLOORS) - rooms <= {"_core", "__main__"}


def test_imports_only_from_its_own_room_or_below() -> None:
    assert [one for path in MODULES for one in rising(tree_of(path), name_of(path))] == []


def test_a_class_in_a_function_is_made_once() -> None:
    found = [one for path in MODULES for one in classes_anew(tree_of(path), name_of(path))]
    # vLLM asks once; ExecuTorch's observers are classes that give a file's own scales.
    apart = ("loading.vllm_classes", "exporting.executorch.own_observers")
    assert [one for one in found if not one.startswith(apart)] == []


def test_a_function_in_a_function_does_not_call_itself() -> None:
    assert [one for path in MODULES for one in calls_itself(tree_of(path), name_of(path))] == []


def test_no_private_name_crosses_a_room() -> None:
    assert [one for path in MODULES for one in private(tree_of(path), name_of(path))] == []


@pytest.mark.parametrize(
    ("module", "source", "held"),
    [
        ("io.source", "from taut.coding import encode_lossless", True),
        ("io.source", "from taut.io.dtypes import dtype_name", True),
        ("io.source", "from .dtypes import dtype_name", True),
        ("io.source", "import numpy", True),
        ("io.source", "from taut.container import TautFile", False),
        ("io.source", "from ..container import TautFile", False),
        ("io.source", "from .. import planning", False),
        ("io.source", "def f():\n    import taut.compression", False),
        ("io.source", "from taut import compress", False),
        ("errors", "import taut", False),
        ("compression.compress", "import taut.cli.app", False),
        ("cli.app", "import taut", True),
        ("networks.calls", "from taut.analysis import collect", False),
        ("io.source", "importlib.import_module('taut.cli.app')", False),
        ("io.source", "__import__('taut.compression')", False),
    ],
)
def test_the_rule_sees_every_way_to_import(module: str, source: str, held: bool) -> None:
    assert (rising(ast.parse(source), module) == []) is held


@pytest.mark.parametrize(
    ("module", "source", "held"),
    [
        ("analysis.curvature", "from taut.analysis._gram import Gram", True),
        ("coding.coder", "from taut import _core", True),
        ("transform.obs", "from taut.analysis._gram import Gram", False),
        ("transform.obs", "from taut.analysis.losses import _mask", False),
        ("transform.obs", "import taut.analysis._gram", False),
    ],
)
def test_the_rule_sees_private_names(module: str, source: str, held: bool) -> None:
    assert (private(ast.parse(source), module) == []) is held


def test_no_circle_of_modules() -> None:
    """Not even of imports inside functions, or for type checkers."""
    known = {name_of(path).removesuffix(".__init__"): path for path in MODULES}
    graph: dict[str, set[str]] = {}
    for module, path in known.items():
        found = set()
        for _, imported in imports(tree_of(path), module):
            below = imported.removeprefix("taut.")
            if imported.split(".")[0] == "taut":
                found.add(below if below in known else below.rpartition(".")[0])
        graph[module] = {one for one in found if one in known and one != module}
    assert circles(graph) == []


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Sets of modules that reach one another (Tarjan's strongly connected components)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        order[node] = low[node] = len(order)
        stack.append(node)
        for other in sorted(graph.get(node, ())):
            if other not in order:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], order[other])
        if low[node] == order[node]:
            members = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(members) > 1:
                found.append(sorted(members))

    for node in sorted(graph):
        if node not in order:
            visit(node)
    return found


def test_circles_are_seen() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}
    assert circles(graph) == [["b", "c"]]


def test_no_class_is_called_as_another() -> None:
    places = defaultdict(list)
    for path in MODULES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(name_of(path))
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_no_file_is_called_as_one_of_another_room() -> None:
    rooms = defaultdict(set)
    for path in MODULES:
        parts = path.relative_to(PACKAGE).parts
        rooms[path.stem].add(parts[0])
    double = {name: where for name, where in rooms.items() if len(where) > 1}
    assert {name: where for name, where in double.items() if name not in SAME_IDEA} == {}
    assert set(double) >= SAME_IDEA, "take names that stand alone now out of SAME_IDEA"


def test_names_say_what_is_in_a_file() -> None:
    vague = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc", "tools"}
    assert [name_of(path) for path in MODULES if path.stem.strip("_") in vague] == []


def test_what_an_extra_brings_is_imported_inside_functions() -> None:
    core = core_dependencies() | set(sys.stdlib_module_names) | {"taut"}
    problems = []
    for path in MODULES:
        prints = name_of(path).split(".")[0] in ("cli", "display")
        allowed = core if prints else core - {"typer", "rich"}
        allowed = allowed | ({"torch"} if in_torch(name_of(path)) else set())
        allowed = allowed | ({"transformers"} if path.stem == "hf_quantizer" else set())
        allowed = allowed | ({"triton"} if path.stem.endswith("_kernels") else set())
        for line, name in needed(path):
            if name.split(".")[0] not in allowed:
                problems.append(f"{name_of(path)}, line {line}: {name}")
    assert problems == []


def test_rooms_of_torch_are_entered_inside_functions() -> None:
    assert [
        f"{name_of(path)}, line {line}: {name}"
        for path in MODULES
        if not in_torch(name_of(path))
        for line, name in needed(path)
        if name.startswith("taut.") and in_torch(name.removeprefix("taut."))
    ] == []


def test_the_core_install_asks_for_nothing_it_does_not_use() -> None:
    used = set()
    for path in MODULES:
        if name_of(path).split(".")[0] != "demo":
            used |= {name.split(".")[0] for _, name in imports(tree_of(path), name_of(path))}
    assert core_dependencies() <= used


def unpickling(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of what may run code that a file holds, under whatever name it is called."""
    safe = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            options = {word.arg: ast.unparse(word.value) for word in node.keywords}
            if options.get("allow_pickle", "False") != "False":
                yield node.lineno, "allow_pickle"
            if options.get("weights_only") == "True":
                safe.add(node.func)
    for node in ast.walk(tree):
        name = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
        if (name == "torch.load" and node not in safe) or name.endswith(".read_pickle"):
            yield node.lineno, name
        elif isinstance(node, ast.ImportFrom) and node.module == "torch":
            yield from ((node.lineno, "torch.load") for one in node.names if one.name == "load")


@pytest.mark.parametrize(
    ("source", "held"),
    [
        ("torch.load(p, weights_only=True)", True),
        ("np.load(p, allow_pickle = False)", True),
        ("torch.load(p)", False),
        ("load = torch.load\nload(p, weights_only=True)", False),
        ("from torch import load as l2", False),
        ("np.load(p, allow_pickle = True)", False),
        ("pd.read_pickle(p)", False),
    ],
)
def test_the_rule_sees_every_way_to_unpickle(source: str, held: bool) -> None:
    assert (list(unpickling(ast.parse(source))) == []) is held


def test_nothing_unpickles() -> None:
    problems = []
    for path in MODULES:
        tree, module = tree_of(path), name_of(path)
        problems += [
            f"{module}, line {line}: {name}"
            for line, name in imports(tree, module)
            if name.split(".")[0] in PICKLES
        ]
        problems += [f"{module}, line {line}: {what}" for line, what in unpickling(tree)]
    assert problems == []


def test_only_the_bindings_know_python() -> None:
    for path in sorted((ROOT / "csrc").rglob("*.[ch]pp")):
        if path.parent.name != "bindings":
            assert not re.search(r"#\s*include\s*[<\"](nanobind|Python\.h)", path.read_text()), path
