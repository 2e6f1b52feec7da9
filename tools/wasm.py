"""Builds the npm package `taut` below a folder: the sources of js/ and libtaut as WebAssembly.

    python tools/wasm.py build/js

Two modules come of it, `taut.wasm` and `taut-simd.wasm` (for engines with 128-bit vectors), each of
the amalgamation and js/bridge.cpp, compiled by Zig's clang (`pip install ziglang`). Neither may
take more than 120,000 bytes when it is compressed as a server would.
"""

from __future__ import annotations

import gzip
import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STAMP = "wasm.stamp"
MOST = 120_000  # bytes, in gzip
VARIANTS = {"taut.wasm": (), "taut-simd.wasm": ("-msimd128",)}
TARGET = ("-target", "wasm32-wasi", "-mexec-model=reactor", "-Os", "-flto")
FLAGS = (
    *TARGET, "-std=c++20", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics",
    "-fvisibility=hidden", "-ffp-contract=off", "-DNDEBUG", "-DTAUT_THREADS=0",
)  # fmt: skip
LINK = (
    *TARGET, "-s",
    "-Wl,-z,stack-size=1048576",  # it lies first: an overflow meets the end of memory and traps
)  # fmt: skip


def build(folder: Path) -> dict[str, int]:
    """Write the package; gives the bytes of each module in gzip.

    Raises:
        SystemExit: the compiler is missing or fails, or a module is too large.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not is_built(folder):
        with tempfile.TemporaryDirectory() as work:
            _run(sys.executable, str(ROOT / "tools" / "amalgamate.py"), work)
            for name, flags in VARIANTS.items():
                _compile(folder / name, flags, work)
        (folder / STAMP).write_text(_fingerprint())
    copy_sources(folder)
    sizes = {name: len(gzip.compress((folder / name).read_bytes(), 9)) for name in VARIANTS}
    if max(sizes.values()) > MOST:
        sys.exit(f"a module takes more than {MOST} bytes in gzip: {sizes}")
    return sizes


def is_built(folder: Path) -> bool:
    """Whether the modules in a folder are those of the sources as they are now."""
    stamp = folder / STAMP
    return stamp.is_file() and stamp.read_text() == _fingerprint()


def copy_sources(folder: Path) -> None:
    """Put all of the package but the modules into a folder."""
    js = ROOT / "js"
    others = [js / "package.json", js / "README.md", ROOT / "LICENSE"]
    for source in [*(js / "src").iterdir(), *others]:
        shutil.copyfile(source, folder / source.name)


def _compile(out: Path, flags: tuple[str, ...], work: str) -> None:
    """Linked as C: of the C++ library headers are enough, and building it takes a minute."""
    compiler, made = (sys.executable, "-m", "ziglang"), f"{work}/bridge.o"
    source = str(ROOT / "js" / "bridge.cpp")
    _run(*compiler, "c++", *FLAGS, *flags, "-I", work, "-c", source, "-o", made)
    _run(*compiler, "cc", *LINK, *flags, made, "-o", str(out))


def _run(*command: str) -> None:
    if subprocess.run(command, check=False).returncode:
        sys.exit(f"failed: {' '.join(command)}")


def _fingerprint() -> str:
    """Of all that the modules are made of, but for the compiler."""
    made = hashlib.sha256(repr((FLAGS, LINK, VARIANTS)).encode())
    sources = [path for path in (ROOT / "csrc").rglob("*.?pp") if path.is_file()]
    others = [ROOT / "tools" / "amalgamate.py", ROOT / "include" / "taut.h", ROOT / "js/bridge.cpp"]
    for path in [*sorted(sources), *others]:
        made.update(path.read_bytes())
    return made.hexdigest()


def main() -> None:
    """Build, and say what came of it."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for name, nbytes in build(Path(sys.argv[1])).items():
        print(f"{name}: {nbytes:,} bytes in gzip")


if __name__ == "__main__":
    main()
