"""The files of the image: an interpreter, what was installed for it, and the libraries they load.

    python tools/image/assemble.py INSTALLED ROOT

INSTALLED is what `pip install --prefix` made, ROOT becomes a file system: the Python that runs
this, without what only people at a desk use, INSTALLED over it, and every shared library that a
program or module in it names. There is no shell, no package manager and no other program in it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Final

# Of the standard library: tests, installers, windows, and what compiling extensions takes.
LEFT_OUT: Final = frozenset({
    *("__pycache__", "test", "tests", "site-packages", "dist-packages", "ensurepip", "idlelib"),
    *("tkinter", "turtledemo", "pydoc_data", "lib2to3"),
})  # fmt: skip
_DESK: Final = re.compile(r"config-.*|turtle\.py|_(tkinter|test\w*|ctypes_test)\..*|.*\.a")
_NAMED: Final = re.compile(r"(?:=>\s*|^\s*)(/\S+)\s+\(0x", re.MULTILINE)
# What the C library opens by name when a thread ends; ldd does not see it.
_BY_NAME: Final = "libgcc_s.so.1"
_USER: Final = "taut:x:1000:1000::/work:/usr/bin/false\n"


def assemble(installed: Path, root: Path) -> None:
    """Make `root`, which must not be there yet."""
    program = Path(sys.executable).resolve()
    stdlib = Path(sysconfig.get_path("stdlib"))
    root.mkdir(parents=True)
    _copy(program, root)
    shutil.copytree(stdlib, _under(root, stdlib), ignore=_left_out, symlinks=True)
    prefix = _under(root, Path(sys.base_prefix))
    shutil.copytree(installed, prefix, ignore=_tests, symlinks=True, dirs_exist_ok=True)
    for name in ("python", "python3"):
        link = _under(root, program).with_name(name)
        if not link.exists():
            link.symlink_to(program.name)
    for library in sorted(libraries(root)):
        _copy(library, root)
    for folder, mode in (("tmp", 0o1777), ("work", 0o777), ("etc", 0o755)):
        (root / folder).mkdir(exist_ok=True)
        (root / folder).chmod(mode)
    (root / "etc" / "passwd").write_text(_USER)
    _say_where_libraries_are(root)


def libraries(root: Path) -> set[Path]:
    """The libraries that the programs and modules under `root` load, as this system has them."""
    found: set[Path] = set()
    for file in _programs(root):
        told = subprocess.run(["ldd", file], capture_output=True, text=True, check=False).stdout
        found |= {Path(name) for name in _NAMED.findall(told)}
    beside = [path.with_name(_BY_NAME) for path in found if path.name.startswith("libc.so")]
    return {path for path in (*found, *beside) if path.exists() and root not in path.parents}


def _say_where_libraries_are(root: Path) -> None:
    """The loader's list of libraries that lie where it does not look by itself: /usr/local/lib."""
    folders = sorted({f"/{path.relative_to(root).parent}" for path in root.rglob("lib*.so*")})
    own = [one for one in folders if "site-packages" not in one and "dynload" not in one]
    (root / "etc" / "ld.so.conf").write_text("".join(f"{one}\n" for one in own))
    subprocess.run(["ldconfig", "-r", root], check=True)


def _programs(root: Path) -> Iterator[Path]:
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_size > 4:
            with path.open("rb") as file:
                if file.read(4) == b"\x7fELF":
                    yield path


def _copy(path: Path, root: Path) -> None:
    """Copy what `path` leads to, under the name that it is asked for by."""
    to = _under(root, path)
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(path.resolve(), to)


def _under(root: Path, path: Path) -> Path:
    return root / path.relative_to(path.anchor)


def _left_out(_: str, names: list[str]) -> set[str]:
    return {name for name in names if name in LEFT_OUT or _DESK.fullmatch(name)}


def _tests(_: str, names: list[str]) -> set[str]:
    return {name for name in names if name in ("tests", "__pycache__")}


if __name__ == "__main__":
    assemble(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
