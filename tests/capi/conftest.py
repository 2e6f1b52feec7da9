"""Builds libtaut once for all tests of it, where the sources changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.capi.library import Library

ROOT = Path(__file__).parents[2]

collect_ignore = ["shadow.py"]  # a plugin, named by those who want it (-p)


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Run a program that must end well; gives what it said."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def tools() -> None:
    """Whatever builds: cmake, ninja, a C and a C++ compiler."""
    where = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    for tool in ("cmake", "ninja", "cc", "c++"):
        if shutil.which(tool, path=where) is None:
            pytest.skip(f"no {tool} here")


@pytest.fixture(scope="session")
def library(tools: None) -> Library:
    """The shared library: TAUT_LIBRARY, or built below build/capi."""
    if given := os.environ.get("TAUT_LIBRARY"):
        return Library(Path(given))
    build = ROOT / "build" / "capi"
    run(
        "cmake",
        "-S",
        ROOT,
        "-B",
        build,
        "-G",
        "Ninja",
        "-DTAUT_C_LIBRARY=ON",
        "-DBUILD_SHARED_LIBS=ON",
    )
    run("cmake", "--build", build, "--target", "taut")
    (found,) = [path for path in build.glob("libtaut.*") if path.suffix in (".so", ".dylib")]
    return Library(found)
