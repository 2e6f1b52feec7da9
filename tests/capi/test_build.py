"""libtaut as others build it: installed, and as one file."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from tests.capi.conftest import ROOT, run
from tests.capi.library import Library

from taut.container import TautFile

pytestmark = pytest.mark.slow("compiles libtaut once more, in one file")

GOLDEN = ROOT / "tests" / "golden" / "files"
MOST = 300_000  # bytes of the stripped library, with decoders for AVX2 and AVX-512
CONSUMER = """\
cmake_minimum_required(VERSION 3.20)
project(consumer LANGUAGES C CXX)
find_package(taut REQUIRED)
add_executable(mean mean.c)
target_link_libraries(mean PRIVATE taut::taut)
add_executable(list list.cpp)
set_target_properties(list PROPERTIES CXX_STANDARD 17)
target_link_libraries(list PRIVATE taut::taut)
"""


def test_the_stripped_library_is_small_and_needs_no_cxx(library: Library, tmp_path: Path) -> None:
    built = Path(library.c._name)
    if built.suffix != ".so":
        pytest.skip("measured on Linux")
    run("strip", "-o", tmp_path / "stripped", built)
    assert (tmp_path / "stripped").stat().st_size <= MOST
    undefined = run("nm", "-D", "-C", "--undefined-only", built)
    assert "std::" not in undefined and "__cxa_throw" not in undefined
    exported = run("nm", "-D", "-C", "--defined-only", built).split("\n")
    assert all(line.split()[-1].startswith("taut_") for line in exported if line)


def test_an_installed_library_is_found(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = tmp_path / "installed"
    run("cmake", "--install", Path(library.c._name).parent, "--prefix", where)
    source = tmp_path / "consumer"
    source.mkdir()
    (source / "CMakeLists.txt").write_text(CONSUMER)
    for name in ("mean.c", "list.cpp"):
        (source / name).write_bytes((ROOT / "examples" / "c" / name).read_bytes())
    run(
        "cmake", "-S", source, "-B", source / "build", "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={where}"
    )
    run("cmake", "--build", source / "build")
    compile_by_pkg_config(where, source, monkeypatch)
    path = GOLDEN / "exact2.taut.safetensors"
    values = TautFile(path)["conv1.weight"]
    said = run(source / "build" / "mean", path, "conv1.weight")
    assert said.startswith(f"{values.size} values, mean ")
    assert abs(float(said.split()[-1]) - values.astype(float).mean()) < 1e-6
    run(source / "build" / "list", path, tmp_path)
    assert (tmp_path / "model2.safetensors").read_bytes() == (
        GOLDEN / "model2.safetensors"
    ).read_bytes()
    wrong = subprocess.run(
        [source / "build" / "mean", path, "none"], capture_output=True, check=False
    )
    assert wrong.returncode == 1 and b"no such tensor" in wrong.stderr


def compile_by_pkg_config(where: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other way to find it, where it was installed, in the standard of C that it promises."""
    if shutil.which("pkg-config") is None:
        return
    (found,) = where.rglob("taut.pc")
    monkeypatch.setenv("PKG_CONFIG_PATH", str(found.parent))
    flags = run("pkg-config", "--cflags", "--libs", "taut").split()
    strict = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror"]
    run("cc", *strict, source / "mean.c", *flags, "-o", source / "mean")


def test_one_file_compiles_and_decodes(tools: None, tmp_path: Path) -> None:
    run("python", ROOT / "tools" / "amalgamate.py", tmp_path)
    library = tmp_path / "libtaut.so"
    run(
        "c++", "-std=c++20", "-O1", "-fno-exceptions", "-fno-rtti", "-Wall", "-Wextra", "-Werror",
        "-fPIC", "-shared", "-DTAUT_BUILDING", "-fvisibility=hidden", tmp_path / "taut.cpp",
        "-o", library,
    )  # fmt: skip
    found = Library(library)
    for path in sorted(GOLDEN.glob("*.taut.safetensors")):
        file = found.open_bytes(path.read_bytes())
        for name, values in TautFile(path).items():
            assert file.decode(name) == values.tobytes()
        file.verify()
