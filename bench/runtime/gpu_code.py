"""What the kernels that decode on a GPU become for one, compiled without it: a table.

    python -m bench.runtime.gpu_code [--capability 90]

Registers and shared memory say how many chunks a processor of the GPU takes at once; a fused
multiply-add would round once where the CPU rounds twice. Wants triton, and no GPU.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.measuring import report

BYTES = ("blob", "symbols", "tails", "marked", "contexts", "marks")
LONGS = ("chunks", "starts", "raws", "ahead", "order")
FLOATS = ("row_scales", "column_scales", "offsets", "shifts")
NUMBERS = ("low", "drop", "base", "columns", "count")
FAST, DENSE = {"BITS": 8, "UNIT": 1}, {"BITS": 12, "UNIT": 2}
# Kernel, what differs from the types by name, constants, warps.
WAYS: tuple[tuple[str, Mapping[str, str], Mapping[str, object], int], ...] = (
    ("decode_segments", {}, {"LANES": 64, "BANKS": 2, **FAST}, 1),
    ("decode_segments", {}, {"LANES": 64, "BANKS": 1, **DENSE}, 1),
    ("patch_escapes", {}, {"BLOCK": 256}, 1),
    (
        "merge_rows",
        {"out": "*i16"},
        {"WIDTH": 2, "MODE": 1, "BYTES": 1, "EXCEPTIONS": False, "BLOCK": 1024},
        4,
    ),
    (
        "merge_rows",
        {"out": "*i32"},
        {"WIDTH": 4, "MODE": 1, "BYTES": 4, "EXCEPTIONS": True, "BLOCK": 1024},
        4,
    ),
    (
        "look_up_rows",
        {"out": "*i16", "levels": "*i16"},
        {"OUTPUT": 2, "EXCEPTIONS": True, "BLOCK": 1024},
        4,
    ),
    ("decode_matrix", {"levels": "*i16"}, {"LANES": 128, "TRELLIS": True, **FAST}, 1),
    ("decode_matrix", {"levels": "*i16"}, {"LANES": 64, "TRELLIS": True, **DENSE}, 1),
    (
        "put_levels",
        {"levels": "*i16", "groups": "*i64", "out": "*i16"},
        {"TRELLIS": True, "OUTPUT": 2, "LANES": 64, "BLOCK": 32},
        4,
    ),
    (
        "put_exceptions",
        {"groups": "*i64", "out": "*i16"},
        {"TRELLIS": True, "OUTPUT": 2, "BLOCK": 128},
        4,
    ),
)


def main() -> None:
    """Compile every kernel, and print what came of it."""
    asked = command_line().parse_args()
    if find_spec("triton") is None:
        sys.exit("triton is not installed: pip install 'taut[gpu]'")
    os.environ.pop("TRITON_INTERPRET", None)
    rows = [row(*way, asked.capability) for way in WAYS]
    print(report.table({title: title for title in rows[0]}, rows))


def row(
    name: str, own: Mapping[str, str], constants: Mapping[str, object], warps: int, capability: int
) -> dict[str, object]:
    """One kernel's line."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from taut.coding.gpu import matrix_kernels, split_kernels

    kernel: Any = getattr(split_kernels, name, None) or getattr(matrix_kernels, name)
    signature = {one: own.get(one) or type_of(one) for one in kernel.arg_names}
    source = ASTSource(
        fn=kernel,
        signature=signature | dict.fromkeys(constants, "constexpr"),
        constexprs={(kernel.arg_names.index(one),): value for one, value in constants.items()},
    )
    options = {"num_warps": warps, "enable_fp_fusion": name != "look_up_rows"}  # as they are run
    done = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    code = done.asm["ptx"]
    return {
        "kernel": name,
        "constants": ", ".join(f"{one} {value}" for one, value in constants.items()),
        "warps": warps,
        **resources(done.asm["cubin"], Path(triton.__file__).parent),
        "shared": done.metadata.shared,
        "instructions": len(re.findall(r"^\t[@a-z]", code, re.MULTILINE)),
        "fused": len(re.findall(r"\bfma\.", code)),
    }


def type_of(name: str) -> str:
    """Triton's name of what a parameter is."""
    kinds = {"*u8": BYTES, "*i64": LONGS, "*fp32": FLOATS, "i32": NUMBERS}
    return next((kind for kind, names in kinds.items() if name in names), "*i32")


def resources(cubin: bytes, triton: Path) -> dict[str, str]:
    """Registers, and bytes on the stack, as NVIDIA's tool beside Triton tells them."""
    tool = triton / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        told = subprocess.run(
            [tool, "-res-usage", path], capture_output=True, text=True, check=True
        ).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+)", told)
    return {"registers": found[1], "stack": found[2]} if found else {}


def command_line() -> argparse.ArgumentParser:
    """Return the parser of what is typed behind the script's name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--capability", type=int, default=90, help="of the GPU: 80, 90, 100 (90)")
    return parser


if __name__ == "__main__":
    main()
