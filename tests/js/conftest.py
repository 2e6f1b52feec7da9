"""The npm package as `make js` built it; without it, or without Node, its tests are skipped."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
collect_ignore = ["collected.py"]  # a plugin, named by the test that wants it (-p)
BUILT = ROOT / "build" / "js"


def _tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("wasm", ROOT / "tools" / "wasm.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def package() -> Path:
    """The folder of the package, its sources as they are now."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node here: JavaScript is not tested")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.strip().lstrip("v").split(".")[0]) < 20:
        pytest.skip(f"node {version.strip()}: 20 or newer runs the tests of JavaScript")
    tool = _tool()
    if not tool.is_built(BUILT):
        pytest.skip("the WebAssembly modules are not built of these sources: make js")
    tool.copy_sources(BUILT)
    return BUILT


def node(*command: str | Path, **options: Any) -> str:
    """Run a program in Node that must end well; gives what it said."""
    done = subprocess.run(
        ["node", *map(str, command)], capture_output=True, text=True, timeout=300, check=False,
        cwd=ROOT, **options,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def read_all(folder: Path, package: Path) -> dict[str, Any]:
    """What the package makes of every file in a folder: a refusal, or each tensor's checksum."""
    script = Path(__file__).with_name("read_all.mjs")
    found: dict[str, Any] = json.loads(node(script, package, folder))
    return found
