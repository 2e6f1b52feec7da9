"""What the kernels that decode on a GPU become for one, compiled without it: a table.

    python -m bench.runtime.gpu_code [--capability 90]

Registers and shared memory say how many chunks a processor of the GPU takes at once. A fused
multiply-add would round once where the CPU rounds twice, and an operation that flushes makes zeros
of the smallest numbers: there may be none of either. Wants triton, and no GPU.
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
from typing import Any, TypeAlias

from bench.measuring import report

BYTES = ("blob", "symbols", "tails", "marked", "contexts", "marks")
LONGS = ("chunks", "starts", "raws", "ahead", "order")
FLOATS = ("row_scales", "column_scales", "offsets", "shifts")
NUMBERS = ("low", "drop", "base", "columns", "count")
FAST, DENSE = {"BITS": 8, "UNIT": 1}, {"BITS": 12, "UNIT": 2}
INTEGERS = ("*u8", "*i16", "*i32", "*i64")  # by the binary logarithm of a value's bytes
OUTPUTS = ("*fp32", "*fp16", "*i16", "*fp64")  # float32, float16, bfloat16 as bits, float64

# Kernel, what differs from the types by name, constants, warps.
Way: TypeAlias = tuple[str, Mapping[str, str], Mapping[str, object], int]


def merge_rows(width: int, mode: int, nbytes: int, exceptions: bool, base: str = "i32") -> Way:
    """Put together values of so many bytes: 0 unsigned, 1 floating-point, 2 signed."""
    constants = {"WIDTH": width, "MODE": mode, "BYTES": nbytes, "EXCEPTIONS": exceptions}
    types = {"out": INTEGERS[width.bit_length() - 1], "base": base}
    return "merge_rows", types, {**constants, "BLOCK": 1024}, 4


def look_up_rows(output: int, exceptions: bool) -> Way:
    """Values of a uniform array."""
    types = {"out": OUTPUTS[output], "levels": OUTPUTS[output]}
    constants = {"OUTPUT": output, "EXCEPTIONS": exceptions, "BLOCK": 1024}
    return "look_up_rows", types, constants, 4


def matrix_values(output: int, trellis: bool, lanes: int) -> tuple[Way, Way]:
    """Values of a matrix, and of its exceptions."""
    types = {"groups": "*i64", "out": OUTPUTS[output]}
    constants = {"TRELLIS": trellis, "OUTPUT": output}
    return (
        ("put_levels", {"levels": "*i16", **types}, {**constants, "LANES": lanes, "BLOCK": 32}, 4),
        ("put_exceptions", types, {**constants, "BLOCK": 128}, 4),
    )


# Each kernel in each of its constants' values, and each branch that these choose.
WAYS: tuple[Way, ...] = (
    ("decode_segments", {}, {"LANES": 64, "BANKS": 2, **FAST}, 1),
    ("decode_segments", {}, {"LANES": 64, "BANKS": 1, **DENSE}, 1),
    ("patch_escapes", {}, {"BLOCK": 256}, 1),
    ("count_exceptions", {}, {"BLOCK": 1024}, 4),
    merge_rows(2, 1, 1, False),
    merge_rows(4, 1, 4, True),
    merge_rows(1, 0, 1, False),
    merge_rows(4, 2, 5, False),
    merge_rows(8, 2, 8, True, "i64"),
    look_up_rows(0, False),
    look_up_rows(2, True),
    look_up_rows(3, True),
    ("decode_matrix", {"levels": "*i16"}, {"LANES": 128, "TRELLIS": True, **FAST}, 1),
    ("decode_matrix", {"levels": "*i16"}, {"LANES": 64, "TRELLIS": True, **DENSE}, 1),
    ("decode_matrix", {"levels": "*i16"}, {"LANES": 128, "TRELLIS": False, **FAST}, 1),
    *matrix_values(2, True, 64),
    *matrix_values(0, False, 128),
    *matrix_values(1, True, 128),
    *matrix_values(3, False, 64),
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
    aligned = {  # where PyTorch begins what it allocates
        (number,): [["tt.divisibility", 16]]
        for number, one in enumerate(kernel.arg_names)
        if signature[one].startswith("*") and one not in constants
    }
    source = ASTSource(
        fn=kernel,
        signature=signature | dict.fromkeys(constants, "constexpr"),
        constexprs={(kernel.arg_names.index(one),): value for one, value in constants.items()},
        attrs=aligned,
    )
    options = {"num_warps": warps, "enable_fp_fusion": name != "look_up_rows"}  # as they are run
    done = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    code = done.asm["ptx"]
    return {
        "kernel": name,
        "constants": ", ".join(f"{one} {value}" for one, value in constants.items()),
        "warps": warps,
        **machine_code(done.asm["cubin"], Path(triton.__file__).parent),
        "shared": done.metadata.shared,
        "flushed": code.count(".ftz"),
        "instructions": len(re.findall(r"^\t[@a-z]", code, re.MULTILINE)),
    }


def type_of(name: str) -> str:
    """Triton's name of what a parameter is."""
    kinds = {"*u8": BYTES, "*i64": LONGS, "*fp32": FLOATS, "i32": NUMBERS}
    return next((kind for kind, names in kinds.items() if name in names), "*i32")


def machine_code(cubin: bytes, triton: Path) -> dict[str, object]:
    """Registers, bytes on the stack and fused operations, as NVIDIA's tool beside Triton tells."""
    tool = triton / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        used, code = (
            subprocess.run([tool, flag, path], capture_output=True, text=True, check=True).stdout
            for flag in ("-res-usage", "-sass")
        )
    found = re.search(r"REG:(\d+) STACK:(\d+)", used)
    fused = len(re.findall(r"\b[FD]FMA\b", code))
    return {"registers": found[1], "stack": found[2], "fused": fused} if found else {}


def command_line() -> argparse.ArgumentParser:
    """Return the parser of what is typed behind the script's name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--capability", type=int, default=90, help="of the GPU: 80, 90, 100 (90)")
    return parser


if __name__ == "__main__":
    main()
