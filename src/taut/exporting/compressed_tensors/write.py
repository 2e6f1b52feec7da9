"""A Hugging Face folder with packed integers, as compressed-tensors and vLLM read it.

Weights of linear layers become integers and scales; all else stays as it is. A tensor whose scheme
put it on the same grid keeps its very values, any other is rounded once more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from taut.container import TautFile, made_folder
from taut.errors import ArgumentError
from taut.exporting.check import Comparison, size_words
from taut.exporting.companions import config_text, copy_companions
from taut.exporting.compressed_tensors.packed import PackedGrid
from taut.exporting.compressed_tensors.packed_load import load_packed
from taut.exporting.compressed_tensors.parts import Parts
from taut.exporting.result import Export
from taut.exporting.safetensors import Progress, steps
from taut.exporting.shards import SHARD, write_shards
from taut.exporting.transformers_network import Linears, linear_layers
from taut.io import HeaderTensor, TensorInfo
from taut.io.safetensors import MappedFile
from taut.scheme import parse_scheme

_BITS: Final = {"int8": 8, "int4": 4}
_FLOATS: Final = ("F32", "F16", "BF16")


def export_compressed_tensors(
    file: TautFile,
    out: Path,
    companions: Path,
    *,
    weights: str | None = None,
    group_size: int | None = None,
    activations: str | None = None,
    force: bool = False,
    limit: int = SHARD,
    progress: Progress | None = None,
) -> Export:
    """Write a folder for compressed-tensors; `companions` is the model folder with the config.

    `weights` is int8 or int4, by default what most linear layers' schemes are, and `group_size`
    the columns that share a scale: by default the schemes' own, else 128 of int4 and a whole row
    of int8. `activations` "dynamic" has int8 weights run with int8 activations.

    Raises:
        ArgumentError: there is no linear layer to pack, or none whose columns the group divides.
        VerifyError: the folder does not read back, or does not load.
        TautError: it cannot be written.
    """
    linears = linear_layers(companions)
    packed = _packable(file, linears)
    grid = _grid(file, packed, weights, group_size, activations)
    packed = _divided(file, packed, grid)
    ignored = [name for name in (*linears.body, *linears.head) if f"{name}.weight" not in packed]
    tied = {record.name for record in file.index.records if record.tied}
    parts = Parts(file, grid, packed)
    kept = [info for info in file.infos if info.name not in tied]
    infos = [one for info in kept for one in parts.infos(info)]
    with made_folder(out, force=force, sole=True) as folder:
        config = copy_companions(companions, folder)
        config["quantization_config"] = grid.config(ignored)
        (folder / "config.json").write_text(config_text(config), encoding="utf-8")
        shards = write_shards(
            folder, infos, parts.load, limit=limit, told=steps("write", infos, progress)
        )
        held = _held(shards)
        found = _compare(held, parts, kept, progress)
        runtime = load_packed(folder, parts, held)
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        weighed = sum(path.stat().st_size for path in shards)
        files = [out / path.relative_to(folder) for path in files]
    return Export(
        path=out,
        format="compressed-tensors",
        files=tuple(files),
        size=size,
        exact=len(found.exact),
        rounded=len(found.rounded),
        check=found.check(runtime),
        notes=_notes(file, grid, packed, ignored, weighed),
    )


def _packable(file: TautFile, linears: Linears) -> list[str]:
    """The weights of the network's linear layers, but for its outputs'."""
    infos = {info.name: info for info in file.infos}
    names = [f"{name}.weight" for name in linears.body]
    found = [n for n in names if n in infos and infos[n].dtype in _FLOATS]
    if not found:
        raise ArgumentError(
            f"{file.path}: {linears.kind} has {len(linears.body)} linear layers, and none of their "
            "weights is in the file; compressed-tensors packs linear layers alone"
        )
    return found


def _grid(
    file: TautFile,
    packed: Sequence[str],
    weights: str | None,
    group_size: int | None,
    activations: str | None,
) -> PackedGrid:
    """What was asked for, filled up from the schemes of the file."""
    if weights is not None and weights not in _BITS:
        raise ArgumentError(f"weights {weights}: compressed-tensors takes {', '.join(_BITS)}")
    schemes = {record.name: parse_scheme(record.scheme) for record in file.index.records}
    kinds = Counter(schemes[name].kind for name in packed)
    most = kinds.most_common(1)[0][0]
    if weights is None:
        if most not in _BITS:
            raise ArgumentError(
                f"{file.path}: its linear layers are {most}, which is no grid of "
                "compressed-tensors; say weights (--weights) int8 or int4, and they are rounded"
            )
        weights = most
    same = Counter(
        (schemes[name].group_size, schemes[name].asymmetric)
        for name in packed
        if schemes[name].kind == weights
    )
    group, asymmetric = same.most_common(1)[0][0] if same else (None, False)
    if group_size is not None or (weights == "int4" and not same):
        group = group_size or 128
    if activations not in (None, "none", "dynamic"):
        raise ArgumentError(f"activations {activations}: compressed-tensors takes none or dynamic")
    dynamic = activations == "dynamic"
    if dynamic and (weights != "int8" or group is not None):
        raise ArgumentError("activations dynamic: goes with weights int8, a scale a row")
    return PackedGrid(_BITS[weights], group, asymmetric, dynamic)


def _divided(file: TautFile, packed: Sequence[str], grid: PackedGrid) -> list[str]:
    """Those weights whose columns the group divides."""
    if grid.group is None:
        return list(packed)
    columns = {info.name: info.shape[1] for info in file.infos if info.name in set(packed)}
    found = [name for name in packed if columns[name] % grid.group == 0]
    if grid.group < 1 or not found:
        widths = ", ".join(map(str, sorted(set(columns.values()))[:6]))
        raise ArgumentError(
            f"group size {grid.group} divides the columns of none of {len(packed)} linear layers "
            f"({widths}); name one that does (--group-size)"
        )
    return found


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


def _notes(
    file: TautFile, grid: PackedGrid, packed: Sequence[str], ignored: Sequence[str], weighed: int
) -> tuple[str, ...]:
    """What became of the model, in honest words."""
    per = f"a scale a group of {grid.group}" if grid.group else "a scale a row"
    told = f"{len(packed)} linear layers are int{grid.bits}, {per}"
    if grid.asymmetric:
        told += ", with zero points"
    notes = [
        told,
        f"{size_words(file.index.origin.nbytes, file.size, weighed)}: packed, not entropy-coded; "
        "faster only where the loader has kernels for it (vLLM on a GPU): others unpack it to "
        "floats first",
    ]
    if grid.asymmetric:
        notes.append("transformers 5 loads zero points with CompressedTensorsConfig("
                     "dequantize=True) alone")  # fmt: skip
    if ignored:
        more = f" and {len(ignored) - 3} more" if len(ignored) > 3 else ""
        notes.append(f"left as they are: {', '.join(ignored[:3])}{more}")
    return tuple(notes)
