"""Other programs that store a file as what it differs by from another one."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

Peer = Callable[[Path, Path, Path], list[str]]


def _z4ai(python: str) -> Peer:
    code = "import sys; from z4ai.model_delta import compress_file as c; c(*sys.argv[1:4])"
    return lambda base, tuned, out: [python, "-c", code, str(tuned), str(base), str(out)]


def _bigsmall(folder: Path) -> Peer:
    program = str(folder / "bigsmall")
    return lambda base, tuned, out: [
        *(program, "compress", str(tuned), "-o", str(out), "--base", str(base)),
        *("--force-delta", "--no-progress"),
    ]


def _lmz(folder: Path) -> Peer:
    """Both files in one archive; what the second adds is told apart by the caller."""
    program = str(folder / "lmz")
    return lambda base, tuned, out: [program, "compress", str(base), str(tuned), "-o", str(out)]


def peers(folder: Path) -> dict[str, Peer]:
    """Give the peers that are installed: in an environment's `bin` folder, or on the path."""
    found: dict[str, Peer] = {}
    if (folder / "z4ai").exists():
        found["z4ai"] = _z4ai(str(folder / "python"))
    if (folder / "bigsmall").exists():
        found["bigsmall"] = _bigsmall(folder)
    if (folder / "lmz").exists():
        found["lmzip"] = _lmz(folder)
    if shutil.which("zstd"):
        found["zstd -19 --patch-from"] = lambda base, tuned, out: [
            *("zstd", "-19", "--long=27", f"--patch-from={base}", str(tuned), "-o", str(out)),
            *("-q", "-f"),
        ]
    if shutil.which("xdelta3"):
        found["xdelta3 -9"] = lambda base, tuned, out: [
            *("xdelta3", "-9", "-e", "-f", "-s", str(base), str(tuned), str(out))
        ]
    return found


def size_of(peer: Peer, base: Path, tuned: Path, out: Path) -> int | None:
    """Bytes that a peer wrote; None where it failed."""
    try:
        subprocess.run(peer(base, tuned, out), check=True, capture_output=True, timeout=900)
    except (subprocess.SubprocessError, OSError):
        return None
    files = [out] if out.is_file() else [path for path in out.rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files) or None
