"""A Hugging Face folder with packed integers, as compressed-tensors and vLLM read it.

Weights of linear layers become integers and scales; all else stays as it is. A tensor whose scheme
put it on the same grid keeps its very values, any other is rounded once more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from taut.container import TautFile, made_folder
from taut.errors import ArgumentError
from taut.exporting.check import Comparison, size_words
from taut.exporting.companions import companion_notes, config_text, copy_companions
from taut.exporting.compressed_tensors.fed_back import feedback_of
from taut.exporting.compressed_tensors.float_packed import FloatGrid
from taut.exporting.compressed_tensors.float_parts import FloatParts
from taut.exporting.compressed_tensors.packed import PackedGrid
from taut.exporting.compressed_tensors.packed_load import load_packed
from taut.exporting.compressed_tensors.packing import (
    Packing,
    choose_grid,
    divided,
    on_grid,
    packable,
)
from taut.exporting.compressed_tensors.parts import Parts
from taut.exporting.result import Export
from taut.exporting.rounded_again import rounding_notes
from taut.exporting.safetensors import Progress, listed, steps
from taut.exporting.shards import write_shards
from taut.exporting.transformers_network import linear_layers
from taut.io import HeaderTensor, TensorInfo
from taut.io.safetensors import MappedFile

_OWN: Final = Packing()
_CPU: Final = 32  # of vLLM 0.32 on a CPU: its CPUWNA16LinearKernel takes no other sizes


def export_compressed_tensors(
    file: TautFile,
    out: Path,
    companions: Path,
    packing: Packing = _OWN,
    *,
    force: bool = False,
    progress: Progress | None = None,
) -> Export:
    """Write a folder for compressed-tensors; `companions` is the model folder with the config.

    `packing` is what was asked for, by default the grid of the file's own schemes.

    Raises:
        ArgumentError: there is no linear layer to pack, or none whose columns the group divides.
        VerifyError: the folder does not read back, or does not load.
        TautError: it cannot be written.
    """
    linears = linear_layers(companions)
    packed = packable(file, linears)
    grid = choose_grid(file, packed, packing)
    if packing.weights is None:
        packed = on_grid(file, packed, grid)
    packed = divided(file, packed, grid)
    ignored = [name for name in (*linears.body, *linears.head) if f"{name}.weight" not in packed]
    parts = _parts(file, grid, packed, companions, packing)
    kept = _untied(file)
    infos = [one for info in kept for one in parts.infos(info)]
    with made_folder(out, force=force, sole=True) as folder:
        config = copy_companions(companions, folder)
        config["quantization_config"] = grid.config(ignored)
        (folder / "config.json").write_text(config_text(config), encoding="utf-8")
        told = steps("write", infos, progress)
        shards = write_shards(folder, infos, parts.load, limit=packing.limit, told=told)
        held = _held(shards)
        found = _compare(held, parts, kept, progress)
        runtime = load_packed(folder, parts, held)
        weighed = sum(path.stat().st_size for path in shards)
        size, files = listed(folder, out)
    return Export(
        path=out,
        format="compressed-tensors",
        files=files,
        size=size,
        exact=len(found.exact),
        rounded=len(found.rounded),
        check=found.check(runtime),
        notes=(
            *_notes(file, grid, packed, ignored, weighed),
            *_told_of_data(parts),
            *companion_notes(companions),
            *rounding_notes(file, found.rounded, parts.kept),
        ),
    )


def _parts(
    file: TautFile,
    grid: PackedGrid | FloatGrid,
    packed: Sequence[str],
    companions: Path,
    packing: Packing,
) -> Parts:
    """What the tensors become; rounded by data where some were given.

    Raises:
        ArgumentError: they do not fit the network, or the grid is of integers.
    """
    if isinstance(grid, PackedGrid):
        if packing.calib is not None:
            raise ArgumentError(
                "calib (--calib): goes with weights nvfp4 and mxfp4; integers are rounded with it "
                "by `taut compress` and a plan of int4 or int8"
            )
        return Parts(file, grid, packed)
    feedback = None
    if packing.calib is not None:
        feedback = feedback_of(file, companions, packed, packing.calib)
    return FloatParts(file, grid, packed, feedback=feedback)


def _untied(file: TautFile) -> list[TensorInfo]:
    """The tensors to write: the config says which are tied to one of them."""
    tied = {record.name for record in file.index.records if record.tied}
    return [info for info in file.infos if info.name not in tied]


def _held(shards: Sequence[Path]) -> Callable[[str], np.ndarray]:
    """What gives the tensors of written files by name."""
    mapped: dict[str, tuple[MappedFile, HeaderTensor]] = {}
    for path in shards:
        opened = MappedFile(path)
        mapped |= {tensor.name: (opened, tensor) for tensor in opened.header.tensors}

    def held(name: str) -> np.ndarray:
        opened, tensor = mapped[name]
        return opened.view(tensor)

    return held


def _compare(
    held: Callable[[str], np.ndarray],
    parts: Parts,
    infos: Sequence[TensorInfo],
    progress: Progress | None,
) -> Comparison:
    """Hold what was read back against the file."""
    found, told = Comparison(), steps("check", infos, progress)
    for info in infos:
        parts.add(info, held, found)
        if told is not None:
            told()
    return found


def _told_of_data(parts: Parts) -> tuple[str, ...]:
    """What the rounding with feedback has to tell of its data."""
    if not isinstance(parts, FloatParts) or parts.feedback is None:
        return ()
    return ("rounded with feedback of errors, by what the data say", *parts.feedback.notes)


def _notes(
    file: TautFile,
    grid: PackedGrid | FloatGrid,
    packed: Sequence[str],
    ignored: Sequence[str],
    weighed: int,
) -> tuple[str, ...]:
    """What became of the model, in honest words."""
    notes = [
        f"{len(packed)} linear layers are {grid.told}",
        f"{size_words(file.index.origin.nbytes, file.size, weighed)}: packed, not entropy-coded; "
        "faster only where the loader has kernels for it (vLLM): others unpack it to floats first",
    ]
    if grid.dynamic:
        notes.append(
            "activations are rounded to int8 as they come, which the Taut file's score knows "
            "nothing of; activations none keeps them floats, for loaders that have a kernel for it"
        )
    elif grid.bits == 8:
        notes.append(
            "vLLM runs int8 weights beside float activations on a GPU alone; on a CPU it takes "
            "activations dynamic, with a scale a row"
        )
    if isinstance(grid, PackedGrid):
        notes += without_kernel(file.infos, grid.bits, packed)
    if grid.asymmetric:
        notes.append("transformers 5 loads zero points with CompressedTensorsConfig("
                     "dequantize=True) alone")  # fmt: skip
    if ignored:
        more = f" and {len(ignored) - 3} more" if len(ignored) > 3 else ""
        notes.append(f"left as they are: {', '.join(ignored[:3])}{more}")
    return tuple(notes)


def without_kernel(infos: Iterable[TensorInfo], bits: int, packed: Sequence[str]) -> list[str]:
    """A note on packed weights that vLLM has no kernel for on a CPU, where there are any.

    >>> infos = [TensorInfo("up.weight", "F32", (64, 48), 12288)]
    >>> without_kernel(infos, 4, ["up.weight"])
    ['up.weight [64, 48]: vLLM on a CPU runs int4 of sizes that 32 divides, and no other']
    >>> without_kernel(infos, 8, ["up.weight"])
    []
    """
    shapes = {info.name: info.shape for info in infos}
    odd = [name for name in packed if any(size % _CPU for size in shapes[name])]
    if bits != 4 or not odd:
        return []
    more = f", and {len(odd) - 1} more" if len(odd) > 1 else ""
    first = f"{odd[0]} {list(shapes[odd[0]])}{more}"
    return [f"{first}: vLLM on a CPU runs int4 of sizes that {_CPU} divides, and no other"]
