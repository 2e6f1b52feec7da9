"""Builds libtaut for processors that are not at hand, and runs it under QEMU.

    python tools/cross.py [aarch64 armv7 riscv64]      below build/cross; all three without a name

On each processor every golden file decodes to what the Python reader gives; on aarch64 the NEON
decoder does so, and is tried member by member (tests/native/test_kernels.cpp). The compilers are
Debian's (g++-aarch64-linux-gnu, g++-arm-linux-gnueabihf, g++-riscv64-linux-gnu) or, where they are
absent, Zig's (pip install ziglang); qemu-user runs what they make. A processor for which a tool
is missing is skipped, and told.
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden"
FLAGS = ("-O2", "-ffp-contract=off", "-DNDEBUG", "-static", "-pthread", "-w")
LIBRARY = ("-fno-exceptions", "-fno-rtti", "-DTAUT_STATIC")


@dataclass(frozen=True)
class Target:
    """A processor: who compiles for it and who runs it, and the decoder that it should have."""

    gnu: str
    zig: str
    qemu: str
    decoder: str = "portable"


TARGETS = {
    "aarch64": Target("aarch64-linux-gnu", "aarch64-linux-musl", "qemu-aarch64", "neon"),
    "armv7": Target("arm-linux-gnueabihf", "arm-linux-musleabihf", "qemu-arm"),
    "riscv64": Target("riscv64-linux-gnu", "riscv64-linux-musl", "qemu-riscv64"),
}


def main() -> int:
    """Build and run for each target; 1 if one of them decodes wrongly."""
    parser = argparse.ArgumentParser(description="libtaut on processors that are not at hand")
    parser.add_argument("names", nargs="*", metavar="PROCESSOR", help=", ".join(TARGETS))
    names = parser.parse_args().names or list(TARGETS)
    if unknown := [name for name in names if name not in TARGETS]:
        parser.error(f"no such processor: {unknown[0]}; known: {', '.join(TARGETS)}")
    return max([check(name, TARGETS[name]) for name in names])


def check(name: str, target: Target) -> int:
    """Build for one target and compare what it decodes; 0 also where it is skipped."""
    compilers = find_compilers(target)
    if compilers is None or shutil.which(target.qemu) is None:
        missing = target.qemu if compilers else f"g++-{target.gnu} or ziglang"
        print(f"{name}: skipped, no {missing} here")
        return 0
    cc, cxx = compilers
    folder = ROOT / "build" / "cross" / name
    folder.mkdir(parents=True, exist_ok=True)
    run(sys.executable, ROOT / "tools" / "amalgamate.py", folder)
    run(*cxx, "-std=c++20", *FLAGS, *LIBRARY, "-c", folder / "taut.cpp", "-o", folder / "taut.o")
    source = ROOT / "tests" / "capi" / "decode_files.c"
    run(*cc, *FLAGS, "-DTAUT_STATIC", f"-I{folder}", "-c", source, "-o", folder / "decode.o")
    run(*cxx, *FLAGS, folder / "decode.o", folder / "taut.o", "-o", folder / "decode")
    files, wanted = expected(folder)
    found = run(target.qemu, folder / "decode", *files).splitlines()
    if found != [target.decoder, *wanted]:
        wrong = [line for line in found if line not in wanted]
        print(f"{name}: FAILED, not as the Python reader decodes: {wrong[:5]}")
        return 1
    print(f"{name}: ok, {len(wanted)} tensors of {len(files)} files by the {found[0]} decoder")
    if target.decoder != "portable":
        kernels(cxx, target, folder)
    return 0


def kernels(cxx: tuple[str, ...], target: Target, folder: Path) -> None:
    """Try the decoder for wider instructions member by member."""
    core = [
        path
        for path in sorted((ROOT / "csrc").glob("*/*.cpp"))
        if path.parent.name not in {"capi", "bindings"} and not path.stem.startswith("avx")
    ]
    program = folder / "test_kernels"
    test = ROOT / "tests" / "native" / "test_kernels.cpp"
    defined = (f"-DTAUT_{target.decoder.upper()}=1", "-DTAUT_NO_EMULATION", f"-I{ROOT / 'csrc'}")
    run(*cxx, "-std=c++20", *FLAGS, *defined, *core, test, "-o", program)
    print(run(target.qemu, program), end="")


def find_compilers(target: Target) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """The C and the C++ compiler, each as the words that call it."""
    if shutil.which(f"{target.gnu}-g++"):
        return (f"{target.gnu}-gcc",), (f"{target.gnu}-g++",)
    if importlib.util.find_spec("ziglang"):
        zig = (sys.executable, "-m", "ziglang")
        return (*zig, "cc", "-target", target.zig), (*zig, "c++", "-target", target.zig)
    return None


def expected(folder: Path) -> tuple[list[str], list[str]]:
    """The golden files as arguments, and the lines that their decoding should print."""
    import taut
    from taut.container import TautFile

    base = folder / "base.taut.safetensors"
    if not base.exists():
        taut.compress(GOLDEN / "deltas" / "base.safetensors", base)
    plain = sorted((GOLDEN / "files").rglob("*.taut.safetensors"))
    deltas = sorted((GOLDEN / "deltas").glob("*.taut.safetensors"))
    lines = [line for path in plain for line in told(TautFile(path))]
    lines += [
        line
        for path in deltas
        for line in told(taut.load(path, base=GOLDEN / "deltas" / "base.safetensors"))
    ]
    return [str(path) for path in plain] + [f"{path}|{base}" for path in deltas], lines


def told(tensors: taut.container.TautFile) -> Iterator[str]:  # type: ignore[name-defined]  # noqa: F821
    """What tests/capi/decode_files.c prints of the tensors of a file."""
    for name, values in tensors.items():
        data = values.tobytes()
        yield f"{zlib.crc32(data):08x} {len(data)} {name}"


def run(*command: str | Path) -> str:
    """Run a program that must end well; gives what it printed."""
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))[:400]}\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
