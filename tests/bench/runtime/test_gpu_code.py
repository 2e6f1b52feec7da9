"""The kernels that decode on a GPU compile for one, where there is none."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="triton is not installed")
ROOT = Path(__file__).parents[3]


def test_each_kernel_that_is_launched_is_compiled() -> None:
    from bench.runtime.gpu_code import WAYS

    room = ROOT / "src" / "taut" / "coding" / "gpu"
    launched = {
        name
        for path in room.glob("*.py")
        for name in re.findall(r"kernels\.(\w+)\[", path.read_text())
    }
    assert {name for name, *_ in WAYS} == launched and len(launched) == 8


@pytest.mark.slow("compiles every kernel for a GPU: ten seconds")
def test_kernels_compile_without_what_would_change_values(tmp_path: Path) -> None:
    """To machine code, by NVIDIA's assembler: nothing fused, no small number flushed to zero."""
    given = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-m", "bench.runtime.gpu_code"],
        cwd=ROOT,
        env={**given, "TRITON_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    titles, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines()
    ]
    found = [dict(zip(titles, row, strict=True)) for row in rows]
    assert len(found) > 20
    for row in found:
        assert (row["fused"], row["flushed"]) == ("0", "0"), row
        # One warp and 255 registers are what there is; a chunk's states must stay in them.
        assert int(row["registers"]) < 255 and int(row["stack"]) <= 8, row
