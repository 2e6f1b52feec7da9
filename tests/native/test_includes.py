"""The folders of csrc/: a file includes its own folder, and the doors of folders on lower floors.

Read off the include lines alone, so that no compiler is needed. Run as a program this file prints
which folder includes which.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

CSRC = Path(__file__).parents[2] / "csrc"
# A folder includes only what stands before it; the last two are the ways in for other languages.
FLOORS = (
    "base",
    "rans",
    "array",
    "simd",
    "split",
    "matrix",
    "adaptive",
    "records",
    "delta",  # whose symbols split codes
    "round",
    "codec",
    "capi",
    "bindings",
)
# What other folders may include. More than one door where not everybody wants the inline code.
DOORS = {
    # ideas that have nothing to say together
    "base": {"bits.hpp", "bytes.hpp", "memory.hpp", "parallel.hpp", "status.hpp"},
    "rans": {"rans.hpp"},
    "array": {"array.hpp", "values.hpp"},
    "simd": {"simd.hpp"},
    "split": {"split.hpp"},
    "matrix": {"matrix.hpp", "basis.hpp"},  # and who keeps a matrix's coefficients
    "adaptive": {"adaptive.hpp"},
    "records": {"records.hpp"},
    "delta": {"delta.hpp"},
    "round": {"round.hpp", "quantize.hpp"},
    # with exceptions, and without; and what keeps arrays, which only Python does
    "codec": {"codec.hpp", "any.hpp", "byte_integers.hpp"},
    "capi": set(),
    "bindings": set(),
}
PUBLIC = {"taut.h"}  # of include/: libtaut's own
SIDE_BY_SIDE = (
    "split",
    "matrix",
    "adaptive",
    "records",
)  # kinds of arrays that do not know each other
INCLUDE = re.compile(r"^[ \t]*#[ \t]*include[ \t]*([<\"])([^>\"]+)[>\"]", re.MULTILINE)


def included(text: str) -> tuple[list[str], list[str]]:
    """Own headers, then system headers, that a source includes."""
    found = INCLUDE.findall(text)
    return [name for kind, name in found if kind == '"'], [
        name for kind, name in found if kind == "<"
    ]


def sources() -> dict[str, str]:
    """Text of each source file by its path below csrc/."""
    paths = sorted(CSRC.rglob("*.[ch]pp"))
    return {path.relative_to(CSRC).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def folder_of(name: str) -> str:
    return name.rpartition("/")[0] or "."


def faults(files: dict[str, str]) -> list[str]:
    """What is wrong with the includes of some files, given by their paths below csrc/."""
    wrong = []
    for name, text in files.items():
        own = folder_of(name)
        if own not in FLOORS:
            wrong.append(f"{name}: folder {own} has no floor")
            continue
        for header in included(text)[0]:
            if header in PUBLIC and own == "capi":
                continue
            folder, _, file = header.rpartition("/")
            if header not in files:
                wrong.append(f"{name}: {header} is not a path below csrc/")
            elif folder != own and file not in DOORS[folder]:
                wrong.append(f"{name}: {header} is internal to {folder}/")
            elif FLOORS.index(folder) > FLOORS.index(own):
                wrong.append(f"{name}: {folder}/ stands above {own}/")
            elif folder != own and folder in SIDE_BY_SIDE and own in SIDE_BY_SIDE:
                wrong.append(f"{name}: {folder}/ and {own}/ do not know each other")
    return wrong


def circle(files: dict[str, str]) -> list[str]:
    """Some files that include each other in a circle, in order; none: an empty list."""
    done: set[str] = set()

    def walk(name: str, way: list[str]) -> list[str]:
        if name in way:
            return way[way.index(name) :]
        if name in done:
            return []
        for header in included(files.get(name, ""))[0]:
            if found := walk(header, [*way, name]):
                return found
        done.add(name)
        return []

    return next((found for name in files if (found := walk(name, []))), [])


def test_folders_include_doors_of_lower_floors_only() -> None:
    assert faults(sources()) == []


def test_no_file_includes_itself_on_any_way() -> None:
    assert circle(sources()) == []


def test_every_folder_has_its_doors() -> None:
    found = {folder_of(name) for name in sources()}
    assert found == set(FLOORS)
    missing = [f"{folder}/{door}" for folder, doors in DOORS.items() for door in doors]
    assert [door for door in missing if door not in sources()] == []


def test_only_the_bindings_know_python() -> None:
    knows = {
        folder_of(name)
        for name, text in sources().items()
        for header in included(text)[1] + included(text)[0]
        if re.match(r"nanobind|Python\.h|pybind11", header)
    }
    assert knows == {"bindings"}


def test_the_rules_see_what_breaks_them() -> None:
    door = {f"{folder}/{name}": "" for folder, doors in DOORS.items() for name in doors}
    fine = {**door, "matrix/layout.hpp": '#include "matrix/matrix.hpp"\n#include "base/bits.hpp"\n'}
    assert faults(fine) == []
    upward = {**door, "rans/tables.cpp": '#include "array/array.hpp"\n'}
    assert faults(upward) == ["rans/tables.cpp: array/ stands above rans/"]
    inner = {**fine, "codec/array.cpp": '  #  include "matrix/layout.hpp"\n'}
    assert faults(inner) == ["codec/array.cpp: matrix/layout.hpp is internal to matrix/"]
    bare = {**fine, "matrix/a.cpp": '#include "layout.hpp"\n'}
    assert faults(bare) == ["matrix/a.cpp: layout.hpp is not a path below csrc/"]
    beside = {**door, "adaptive/a.cpp": '#include "split/split.hpp"\n'}
    assert faults(beside) == ["adaptive/a.cpp: split/ and adaptive/ do not know each other"]
    assert faults({**door, "new/a.cpp": ""}) == ["new/a.cpp: folder new has no floor"]
    ring = {"a/a.hpp": '#include "a/b.hpp"\n', "a/b.hpp": '#include "a/a.hpp"\n'}
    assert circle(ring) == ["a/a.hpp", "a/b.hpp"]


def print_graph() -> None:
    """Prints each folder's lines of code and the folders that it includes, by floor."""
    lines: dict[str, int] = defaultdict(int)
    uses: dict[str, set[str]] = defaultdict(set)
    for name, text in sources().items():
        own = folder_of(name)
        lines[own] += text.count("\n")
        uses[own] |= {folder_of(header) for header in included(text)[0]} - {own}
    for folder in FLOORS:
        below = [other for other in FLOORS if other in uses[folder]]
        print(f"{folder:9}{lines[folder]:6}  {', '.join(below)}")


if __name__ == "__main__":
    print_graph()
