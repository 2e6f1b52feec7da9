"""Other programs that store a file as what it differs by from another one."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

Peer = Callable[[Path, Path, Path], int | None]
"""Bytes of the difference from a base to a file, made in a folder; None where it failed."""

_Z4AI = "import sys; from z4ai.model_delta import compress_file as c; c(*sys.argv[1:4])"


def _ran(command: Sequence[str | Path], out: Path) -> int | None:
    """Bytes that a program wrote."""
    out.unlink(missing_ok=True)
    try:
        subprocess.run([str(part) for part in command], check=True, capture_output=True)
    except (subprocess.SubprocessError, OSError):
        return None
    return out.stat().st_size if out.is_file() else None


def _z4ai(bin_folder: Path, base: Path, tuned: Path, folder: Path) -> int | None:
    out = folder / "z4ai"
    return _ran([bin_folder / "python", "-c", _Z4AI, tuned, base, out], out)


def _bigsmall(bin_folder: Path, base: Path, tuned: Path, folder: Path) -> int | None:
    out = folder / "bigsmall.bs"
    asked = ("--force-delta", "--no-progress")
    return _ran(
        [bin_folder / "bigsmall", "compress", tuned, "-o", out, "--base", base, *asked], out
    )


def _lmzip(bin_folder: Path, base: Path, tuned: Path, folder: Path) -> int | None:
    """What the file adds to an archive that has the base in it."""
    both = folder / "both"
    both.mkdir(exist_ok=True)
    shutil.copyfile(base, both / "a.safetensors")
    out, sizes = folder / "lmzip", []
    for source in (base, tuned):
        shutil.copyfile(source, both / ("a.safetensors" if source == base else "b.safetensors"))
        sizes.append(_ran([bin_folder / "lmz", "compress", "-q", "-f", both, out], out))
    shutil.rmtree(both)
    first, second = sizes
    return None if first is None or second is None else second - first


def _zstd(base: Path, tuned: Path, folder: Path) -> int | None:
    out, asked = folder / "zst", ("-9", "--long=27", "-q", "-f")
    return _ran(["zstd", *asked, f"--patch-from={base}", tuned, "-o", out], out)


def _xdelta3(base: Path, tuned: Path, folder: Path) -> int | None:
    out = folder / "vcdiff"
    return _ran(["xdelta3", "-9", "-e", "-f", "-s", base, tuned, out], out)


def peers(bin_folder: Path) -> dict[str, Peer]:
    """Give the peers that are installed: in an environment's `bin` folder, or on the path."""
    found: dict[str, Peer] = {}
    for name, program, act in (
        ("z4ai", "z4ai", _z4ai),
        ("bigsmall", "bigsmall", _bigsmall),
        ("lmzip", "lmz", _lmzip),
    ):
        if (bin_folder / program).exists():
            found[name] = partial(act, bin_folder.absolute())
    if shutil.which("zstd"):
        found["zstd -9 --patch-from"] = _zstd
    if shutil.which("xdelta3"):
        found["xdelta3 -9"] = _xdelta3
    return found
