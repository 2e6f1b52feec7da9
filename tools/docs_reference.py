"""The generated pages of the documentation: every room's public names, and the command line.

Nothing is listed here: a room is a package that says `__all__`, or a module that lies beside the
rooms and does, and the commands are those of the program.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

SOURCE: Final = Path(__file__).resolve().parents[1] / "src"


def rooms() -> dict[str, list[str]]:
    """Dotted names of the rooms, and where what each says in `__all__` is found."""
    found = {}
    package = SOURCE / "taut"
    for path in sorted([*package.rglob("__init__.py"), *package.glob("*.py")]):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        room = ".".join(part for part in parts if part != "__init__")
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if names := _all_of(tree):
            homes = _homes(tree)
            found[room] = [_path(homes.get(name, room), name) for name in names]
    return found


def _all_of(tree: ast.Module) -> list[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return []


def _homes(tree: ast.Module) -> dict[str, str]:
    """From which module a name is imported, also where only type checkers import it."""
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {name.asname or name.name: str(node.module) for node in imports for name in node.names}


def _path(home: str, name: str) -> str:
    """The dotted path of a name, which may be that of the module that it lies in (a verb's)."""
    beside = SOURCE.joinpath(*home.split("."), f"{name}.py")
    return f"{home}.{name}.{name}" if beside.exists() else f"{home}.{name}"


def room_page(room: str, paths: list[str]) -> str:
    """A room's page: its own docstring, then each public name as mkdocstrings shows it."""
    head = f"# {room}\n\n::: {room}\n    options: {{members: false, show_root_heading: false}}\n"
    return head + "".join(f"\n::: {path}\n" for path in paths)


def command_page() -> str:
    """The command line: every command with its arguments and options."""
    from taut.cli.app import app

    root = get_command(app)
    assert isinstance(root, TyperGroup)
    parts = ["# Command line\n", root.help or "", root.epilog or ""]
    for name, command in root.commands.items():
        assert isinstance(command, TyperCommand)
        parts += [f"## taut {name}", *_command(command, f"taut {name}")]
    return "\n\n".join(part for part in parts if part) + "\n"


def _command(command: TyperCommand, path: str) -> Iterator[str]:
    context = command.context_class(command, info_name=path)
    yield f"    {path} {' '.join(command.collect_usage_pieces(context))}"
    yield command.help or ""
    records = [one.get_help_record(context) for one in command.get_params(context)]
    rows = [_row(word, does) for word, does in filter(None, records)]
    yield "\n".join(["| | |", "|---|---|", *rows])
    yield "\n".join(f"    {line}" for line in (command.epilog or "").splitlines())


def _row(*cells: str) -> str:
    """A row of the table: what is written on the command line, and what it does."""
    word, does = (" ".join(text.split()).replace("|", "\\|") for text in cells)
    return f"| `{word}` | {does.replace('<', '&lt;')} |"
