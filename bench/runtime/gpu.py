"""Decoding in a GPU's memory: GB/s out, beside a device copy, a copy from the host, and peers.

    python -m bench.runtime.gpu FILE.taut.safetensors [...]

Every tensor that the kernels are for is decoded and held to the CPU's bits first. `decode` is from
coded bytes in the GPU's memory to values there, the fastest of all rounds, and `load` from the
opened file. nvCOMP (`pip install nvidia-nvcomp-cu12`) and ZipNN, a CPU's decoder, code the same
bytes where they are installed. Without FILE a gigabyte of normal numbers in bfloat16 stands in.
TRITON_INTERPRET=1 with `--device cpu` tries the script without a GPU; its times mean nothing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import taut
from bench.measuring import report

if TYPE_CHECKING:
    import torch

    from taut.coding.gpu import GpuBatch
    from taut.container.coded_arrays import Checked

TITLES = {title: title for title in ("what", "bytes", "of", "GB/s")}


def main() -> None:
    """Measure, and print a table."""
    asked = command_line().parse_args()
    if find_spec("triton") is None:
        sys.exit("triton is not installed: pip install 'taut[gpu]'")
    import torch

    if asked.device == "cuda" and not torch.cuda.is_available():
        sys.exit("this wants a GPU that PyTorch can use")
    device = torch.device(asked.device)
    with tempfile.TemporaryDirectory() as folder:
        for path in asked.file or [made(Path(folder), asked.megabytes)]:
            print(f"\n{path.name}\n", report.table(TITLES, list(rows(path, device, asked.rounds))))


def checked(
    path: Path, device: torch.device
) -> tuple[GpuBatch, dict[str, Checked], list[torch.Tensor | None]]:
    """A file's coded arrays on a device, and what they decode to there: the CPU's bits, or None."""
    from taut.coding.gpu import GpuBatch, GpuJob

    file = taut.load(path)
    coded = {name: one for name in file if (one := file.coded(name)) is not None}
    jobs = [GpuJob(one.header, one.chunks, one.nbytes) for one in coded.values()]
    batch = GpuBatch(jobs, device)
    found = batch.decode()
    for name, one in zip(coded, found, strict=True):
        if one is not None and one.cpu().numpy().tobytes() != file[name].tobytes():
            sys.exit(f"{name}: the GPU's values are not the CPU's")
    there = sum(one is not None for one in found)
    report.say(f"{there} of {len(coded)} coded arrays decode there; their bits are the CPU's")
    return batch, coded, found


def made(folder: Path, megabytes: int) -> Path:
    """A Taut file of normal numbers, as the weights of layers of a few scales are."""
    import ml_dtypes

    rng, columns = np.random.default_rng(0), 4096
    each = 64 if megabytes > 64 else megabytes
    layers = {
        str(i): (rng.standard_normal((each * 10**6 // 2 // columns, columns), np.float32) * 0.02)
        .astype(ml_dtypes.bfloat16)
        for i in range(max(1, megabytes // each))
    }  # fmt: skip
    path = folder / "normal.taut.safetensors"
    taut.compress(layers, path)
    return path


def rows(path: Path, device: torch.device, rounds: int) -> Iterator[dict[str, object]]:
    """Rows of the table: what decodes, its bytes before and after, and how fast."""
    import torch

    batch, coded, found = checked(path, device)
    there = [name for name, one in zip(coded, found, strict=True) if one is not None]
    out = sum(coded[name].nbytes for name in there)
    size = sum(sum(map(len, coded[name].chunks)) for name in there)
    values = [one for one in found if one is not None]
    plain = torch.cat(values)
    clock = Clock(device, rounds)

    def row(what: str, coded_bytes: int, work: Callable[[], object]) -> dict[str, object]:
        speed = plain.numel() / clock.seconds(work) / 1e9
        return {"what": what, "bytes": f"{coded_bytes:,}", "of": f"{plain.numel():,}",
                "GB/s": f"{speed:.1f}"}  # fmt: skip

    yield row("Taut, decode", size, batch.decode)
    if device.type == "cuda":
        yield row("Taut, load", size, lambda: taut.load(path, device=device).load_all())
    copy, host = torch.empty_like(plain), plain.cpu()
    yield row("a copy on the device", out, lambda: copy.copy_(plain))
    yield row("a copy from the host", out, lambda: copy.copy_(host))
    yield from (row(*peer) for peer in peers(plain, host))


class Clock:
    """The fewest seconds of some work, waiting for the device."""

    def __init__(self, device: torch.device, rounds: int) -> None:
        self._device, self._rounds = device, rounds

    def seconds(self, work: Callable[[], object]) -> float:
        """Of the fastest round; one that compiles goes first."""
        work()
        return min(self._once(work) for _ in range(self._rounds))

    def _once(self, work: Callable[[], object]) -> float:
        import torch

        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        begin = time.perf_counter()
        work()
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter() - begin


def peers(
    plain: torch.Tensor, host: torch.Tensor
) -> Iterator[tuple[str, int, Callable[[], object]]]:
    """Name, bytes and work of those that are installed; told where one fails."""
    if find_spec("nvidia") is not None and find_spec("nvidia.nvcomp") is not None:
        for algorithm in ("ANS", "Bitcomp", "LZ4"):
            try:
                yield nvcomp(plain, algorithm)
            except Exception as error:  # what an algorithm is for differs from release to release
                report.say(f"nvCOMP {algorithm}: {error}")
    if find_spec("zipnn") is not None:
        yield zipnn(host)


def nvcomp(plain: torch.Tensor, algorithm: str) -> tuple[str, int, Callable[[], object]]:
    """NVIDIA's own, from the GPU's memory to the same."""
    from nvidia import nvcomp  # type: ignore[import-not-found]

    codec = nvcomp.Codec(algorithm=algorithm)
    packed = codec.encode(nvcomp.as_array(plain))
    return f"nvCOMP {algorithm}", packed.buffer_size, lambda: codec.decode(packed)


def zipnn(host: torch.Tensor) -> tuple[str, int, Callable[[], object]]:
    """ZipNN, on the CPU and into its memory."""
    import zipnn as package  # type: ignore[import-not-found]

    data = bytearray(host.numpy()[: host.numel() // 4 * 4])
    coder = package.ZipNN(input_format="byte", bytearray_dtype="bfloat16")
    packed = coder.compress(data)
    return "ZipNN, on the CPU", len(packed), lambda: coder.decompress(packed)


def command_line() -> argparse.ArgumentParser:
    """Return the parser of what is typed behind the script's name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="*", type=Path, help="Taut files")
    parser.add_argument("--device", default="cuda", help="of PyTorch (cuda)")
    parser.add_argument("--rounds", type=int, default=10, help="how often each is timed (10)")
    parser.add_argument(
        "--megabytes", type=int, default=1024, help="of numbers made, without a file (1024)"
    )
    return parser


if __name__ == "__main__":
    main()
