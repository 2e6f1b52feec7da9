"""Prints the house: every room with its floor, files and lines, and who imports from whom.

Run from the repository's root: `python tools/rooms.py`. The floors are those that
`tests/test_floors.py` checks.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from test_floors import FLOORS, HOUSE, MODULES, imports, name_of, room, tree_of


def lines_of(path: Path) -> int:
    """Lines of a source file, blank ones too."""
    return len(path.read_text(encoding="utf-8").splitlines())


def rooms() -> list[str]:
    """The rooms that have files, from the ground up."""
    held = {name_of(path).split(".")[0] for path in MODULES}
    return [name for floor in HOUSE for name in floor if name in held]


def main() -> None:
    """Print both tables as Markdown."""
    files: Counter[str] = Counter()
    lines: Counter[str] = Counter()
    longest: Counter[str] = Counter()
    arrows: Counter[tuple[str, str]] = Counter()
    for path in MODULES:
        own = name_of(path).split(".")[0]
        files[own] += 1
        lines[own] += lines_of(path)
        longest[own] = max(longest[own], lines_of(path))
        for _, imported in imports(tree_of(path), name_of(path)):
            if imported.split(".")[0] == "taut" and room(imported) != own:
                arrows[own, room(imported)] += 1
    print("| floor | room | files | lines | longest file | imports from (names) |")
    print("|---:|---|---:|---:|---:|---|")
    for name in rooms():
        found = sorted((other for one, other in arrows if one == name), key=FLOORS.__getitem__)
        told = ", ".join(f"{other} {arrows[name, other]}" for other in found)
        print(
            f"| {FLOORS[name]} | `{name}` | {files[name]} | {lines[name]:,} | {longest[name]} "
            f"| {told or '-'} |"
        )
    print(f"\n{len(MODULES)} files, {sum(lines.values()):,} lines")


if __name__ == "__main__":
    main()
