"""Compiles bert.c, the operations of a sentence encoder, to WebAssembly: 10 kB that bert.js calls.

python examples/web/compile_bert.py bert.wasm
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).with_name("bert.c")
OPERATIONS = ("linear", "attend", "add_norm", "__heap_base")


def build_encoder(out: Path) -> None:
    """Compile bert.c to WebAssembly with 128-bit vectors.

    Raises:
        SystemExit: the compiler is missing or fails.
    """
    command = [
        sys.executable, "-m", "ziglang", "cc", "-target", "wasm32-freestanding", "-O3", "-msimd128",
        "-nostdlib", "-s", "-Wl,--no-entry", *(f"-Wl,--export={name}" for name in OPERATIONS),
        str(SOURCE), "-o", str(out),
    ]  # fmt: skip
    if subprocess.run(command, check=False).returncode:
        sys.exit(f"{out}: was not compiled; `make wasm` installs the compiler (ziglang)")


if __name__ == "__main__":
    build_encoder(Path(sys.argv[1]))
