"""The verb that knows the whole way: a model in, one verified file (or a model folder) out."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from laconic.coding import Effort
from laconic.container import (
    Origin,
    VerifyReport,
    Writer,
    check_destination,
    checked_threads,
    verify,
)
from laconic.decompress import Restored, decompress
from laconic.errors import ArgumentError
from laconic.estimate import estimate_memory, estimate_tensors
from laconic.fill import Plan, Progress, fill, predict_size, resolve_plan
from laconic.folder import FILE_NAME, check_copies, copy_files, made_folder
from laconic.info import Info, TensorReport, bits_per_value, info
from laconic.io import Source, open_source
from laconic.load import load
from laconic.lossy import Quantizer, find_dial, lossy_schemes
from laconic.memory import peak_memory
from laconic.plan import Target, parse_target
from laconic.scheme import Scheme

if TYPE_CHECKING:
    import numpy as np
    import torch

    Model = str | Path | Mapping[str, np.ndarray] | Mapping[str, torch.Tensor] | torch.nn.Module

__all__ = [
    "Info",
    "Plan",
    "Progress",
    "Restored",
    "Result",
    "TensorReport",
    "VerifyReport",
    "compress",
    "decompress",
    "info",
    "load",
    "verify",
]


_NEAR = 1.25  # an estimate from samples is rarely further off than this


@dataclass(frozen=True)
class Result(Info):
    """What a compression gave: `seconds` it took, `peak_memory` in bytes of the whole process.

    After a dry run sizes and memory are estimates, and `path` is where the file would be.
    """

    seconds: float
    peak_memory: int


@dataclass(frozen=True)
class _Target:
    """Where to write: the file, or the folder with the file and the companions as (from, to)."""

    file: Path
    folder: Path | None = None
    companions: tuple[tuple[Path, Path], ...] = ()


def compress(
    src: Model,
    dst: str | Path | None = None,
    *,
    bits: float | None = None,
    size: str | int | None = None,
    effort: Effort | None = None,
    plan: Plan | None = None,
    threads: int | None = None,
    force: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Result:
    """Write a model as a Laconic file; bit-exact unless `bits`, `size` or `plan` say otherwise.

    `src` is a safetensors file, a shards' index, a model folder, a checkpoint, a dict of arrays
    or a module; `dst` is a file, or for a model folder a folder that gets the config and
    tokenizer files too. `bits` are per parameter, `size` is "8x", "4.2MB", "12%" or bytes, `plan`
    maps names to schemes. `effort` is "fast" for bit-exact work and "max" for lossy, if not
    given. The bytes written do not depend on `threads`.

    Raises:
        ArgumentError: nothing was read or written yet; the message says what to change.
        FormatError: the source is damaged.
        TargetError: `bits` or `size` cannot be met.
        LaconicError: the disk is full; whatever was at `dst` still is.

    >>> import numpy as np, tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "zeros.laconic.safetensors"
    >>> compress({"w": np.zeros((512, 512), np.float32)}, path).ratio > 1000
    True
    """
    began = time.perf_counter()
    threads = checked_threads(threads)
    source = open_source(src)
    _check_not_laconic(source)
    schemes = resolve_plan(source, plan)
    if effort not in (None, "fast", "max"):
        raise ArgumentError(f'effort: {effort!r} is unknown; "fast" or "max"')
    if dst is None and not dry_run:
        raise ArgumentError("dst: name the file to write (only a dry run needs none)")
    target = None if dry_run or dst is None else _target(src, source, Path(dst), force)
    schemes, effort, quantize = _decide(
        source, schemes, bits, size, effort, threads, fixed=plan or ()
    )
    if target is None:
        return _dry_run(source, schemes, effort, dst, began, quantize)
    with contextlib.ExitStack() as stack:
        if target.folder is not None:
            stack.enter_context(made_folder(target.folder))
        writer = stack.enter_context(
            Writer(
                target.file,
                origin_of(source),
                source.infos,
                effort=effort,
                threads=threads,
                force=force,
            )
        )
        fill(
            writer.layout,
            source,
            schemes,
            effort=effort,
            threads=threads,
            quantize=quantize,
            progress=progress,
        )
        copy_files(target.companions, force=force)
        writer.finish(progress)
    found = info(target.file)
    return Result(**vars(found), seconds=time.perf_counter() - began, peak_memory=peak_memory())


def _check_not_laconic(source: Source) -> None:
    if {"laconic", "checksum", "index"} <= source.metadata.keys():
        raise ArgumentError(
            f"{source.identity}: is a Laconic file already; decompress it first to code it anew"
        )


def _decide(
    source: Source,
    schemes: dict[str, Scheme],
    bits: float | None,
    size: str | int | None,
    effort: Effort | None,
    threads: int,
    fixed: Collection[str],
) -> tuple[dict[str, Scheme], Effort, Quantizer | None]:
    """The schemes, the effort and, if anything is to be quantised, by what.

    The schemes of tensors in `fixed` stay as they are.
    """
    if bits is None and size is None:
        effort = effort or _default_effort(schemes)
        lossy = any(scheme.kind == "rd" for scheme in schemes.values())
        if any(scheme.kind == "rd" and scheme.bits is None for scheme in schemes.values()):
            raise ArgumentError("plan: rd needs bits or size for the whole model, or rd:BITS")
        return schemes, effort, Quantizer(1.0, effort) if lossy else None
    target = parse_target(
        bits=bits, size=size, original=source.nbytes, parameters=_parameters(source)
    )
    if _exact_fits(source, schemes, target, effort, threads):
        return schemes, effort or "fast", None
    schemes, effort = lossy_schemes(source, schemes, fixed), effort or "max"
    quantizer = find_dial(
        source, schemes, target, effort=effort, threads=threads, origin=origin_of(source)
    )
    return schemes, effort, quantizer


def _exact_fits(
    source: Source,
    schemes: Mapping[str, Scheme],
    target: Target,
    effort: Effort | None,
    threads: int,
) -> bool:
    """Whether the bit-exact file is small enough already: then nothing has to be lost.

    All is coded only where an estimate comes near the target.
    """
    if any(scheme.kind == "rd" for scheme in schemes.values()):
        return False
    _, about = estimate_tensors(source, schemes, effort or "fast")
    if about > _NEAR * target.nbytes:
        return False
    origin = origin_of(source)
    size = predict_size(source, schemes, effort=effort or "fast", threads=threads, origin=origin)
    return size <= target.nbytes


def _parameters(source: Source) -> int:
    return sum(prod(i.shape) for i in source.infos if i.name not in source.aliases)


def _default_effort(schemes: Mapping[str, Scheme]) -> Effort:
    exact = all(scheme.kind in ("keep", "lossless") for scheme in schemes.values())
    return "fast" if exact else "max"


def _target(src: Model, source: Source, dst: Path, force: bool) -> _Target:
    """Decide what is written where, and that it may be."""
    folder = Path(src) if isinstance(src, str | Path) and Path(src).is_dir() else None
    if folder is None or dst.suffix == ".safetensors":
        _check_not_input(src, source, dst)
        check_destination(dst, force=force)
        return _Target(dst)
    if dst.exists() and not dst.is_dir():
        raise ArgumentError(f"{dst}: is not a folder, and a model folder becomes one")
    file = dst / FILE_NAME
    pairs = tuple((path, dst / path.relative_to(folder)) for path in source.companions)
    check_copies(pairs, force=force)
    if dst.is_dir():
        _check_not_input(src, source, file)
        check_destination(file, force=force)
    return _Target(file, dst, pairs)


def _check_not_input(src: Model, source: Source, dst: Path) -> None:
    if not isinstance(src, str | Path) or not dst.exists():
        return
    here = Path(source.identity).parent
    inputs = [Path(src), Path(source.identity), *(here / file.name for file in source.files)]
    if any(path.exists() and os.path.samefile(path, dst) for path in inputs):
        raise ArgumentError(f"{dst}: is the model to compress; name another file")


def origin_of(source: Source) -> Origin:
    """What the file is to remember of its source."""
    texts: tuple[tuple[str, str], ...] = ()
    path = Path(source.identity)
    if source.files and path.name.endswith(".index.json"):  # shards: their index is needed again
        texts = ((path.name, path.read_bytes().decode()),)
    files = tuple((file.name, file.header) for file in source.files)
    return Origin(source.nbytes, source.metadata, files, texts)


def _dry_run(
    source: Source,
    schemes: Mapping[str, Scheme],
    effort: Effort,
    dst: str | Path | None,
    began: float,
    quantize: Quantizer | None,
) -> Result:
    tensors, size = estimate_tensors(source, schemes, effort, quantize)
    if quantize is not None and quantize.size is not None:  # the search for the dial knows better
        size = quantize.size
    parameters = _parameters(source)
    return Result(
        path=Path(dst) if dst is not None else Path(),
        size=size,
        original_size=source.nbytes,
        ratio=source.nbytes / size,
        bits=bits_per_value(size, parameters),
        parameters=parameters,
        tensors=tensors,
        seconds=time.perf_counter() - began,
        peak_memory=estimate_memory(source),
    )
