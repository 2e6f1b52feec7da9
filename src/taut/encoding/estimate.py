"""Sizes and memory before the work starts, from a sample of each tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import psutil

from taut.coding import CodedArray, Effort
from taut.container import Layout, Origin
from taut.container.info import TensorReport, bits_per_value, share
from taut.encoding.sampled import SampledSource
from taut.encoding.tensor import Coded, Quantize, add_tensor, encode_tensor
from taut.io import Source, TensorInfo
from taut.io.pairs import own
from taut.io.tensor_pieces import held_nbytes
from taut.machine.peak_memory import held_memory
from taut.planning import quantisable
from taut.scheme import Scheme

if TYPE_CHECKING:
    from taut.analysis.foretold import Needs
    from taut.encoding.run_needs import DataShapes

LIBRARIES = 340 << 20
"""Bytes that PyTorch, transformers and a tokenizer take before any work."""

_FIXED = 16 << 20  # bytes: solid groups, tables of contents, the coder's own buffers


def estimate_memory(
    source: Source,
    *,
    calibrated: bool = False,
    tokens: int = 0,
    data: DataShapes | None = None,
    journal: bool = False,
) -> int:
    """Peak memory in bytes: what the process holds now, and the largest tensor three times.

    Once as it is, once coded, and once decoded to be compared; of one that is read in pieces
    (`held_nbytes`) less. A `calibrated` run on so many `tokens` (0: not known yet) also holds
    PyTorch, the forms and rounded matrices, of a small network a copy, and what a block makes of a
    batch; `data` says more of it, once model and data are open. Files that are mapped do not count:
    with a `journal` the forms are such.
    """
    exact = 3 * max((held_nbytes(source, one) for one in source.infos), default=0) + _FIXED
    if not calibrated:  # as the result's `peak_memory`, which counts the libraries' own pages
        return int(psutil.Process().memory_info().rss) + exact
    held = held_memory() if data is not None else max(held_memory(), LIBRARIES)
    return held + max(exact, _needs(source, data or _some(tokens, journal)).memory)


def estimate_disk(source: Source, tokens: int, *, journal: bool) -> tuple[int, int]:
    """Bytes that a calibrated run on so many tokens writes: temporary files, and a `journal`."""
    needs = _needs(source, _some(tokens, journal))
    return needs.disk, needs.journal


def _some(tokens: int, journal: bool) -> DataShapes:
    from taut.encoding.run_needs import DataShapes

    return DataShapes(tokens, journal=journal)


def _needs(source: Source, data: DataShapes) -> Needs:
    from taut.encoding.run_needs import run_needs

    narrow = any(info.dtype in ("F16", "BF16") for info in source.infos)
    return run_needs(_matrices(source), data, narrow=narrow)


def _matrices(source: Source) -> dict[str, tuple[int, int]]:
    """The shapes of what is rounded; of a stack of matrices, as experts are, rows of all."""
    return {
        info.name: (prod(info.shape[:-1]), info.shape[-1])
        if len(info.shape) == 3
        else (info.shape[0], prod(info.shape[1:]))
        for info in source.infos
        if info.name not in source.aliases and quantisable(info.dtype, info.shape)
    }


def estimate_tensors(
    source: Source,
    schemes: Mapping[str, Scheme],
    effort: Effort,
    quantize: Quantize | None = None,
) -> tuple[tuple[TensorReport, ...], int]:
    """Estimate each tensor's bytes and the file's, coding at most 256 KiB of each tensor.

    Of a whole model 32 MiB are coded at most (`SampledSource`), or 16 KiB of each. The samples are
    laid out as the file would be, each as long as its tensor is to be: packs, groups, header and
    index are then counted and not guessed. Equal tensors count every time.
    """
    if not isinstance(source, SampledSource):
        source = SampledSource.of(source)
    files = tuple((file.name, file.header) for file in source.files)
    origin = Origin(source.nbytes, source.metadata, files)
    layout = Layout(origin, source.infos, effort=effort)
    small: dict[str, int] = {}
    for info in source.infos:
        if info.name in source.aliases:
            continue
        coded = _coded_sample(source, info, schemes[info.name], effort, quantize)
        if coded.small:
            small[info.name] = info.nbytes
        add_tensor(layout, info, coded)
    for info in source.infos:
        if info.name in source.aliases:
            layout.add_alias(own(info), source.aliases[info.name], tied=True)
    layout.close()
    return _reports(layout, small), layout.size


def _reports(layout: Layout, small: Mapping[str, int]) -> tuple[TensorReport, ...]:
    """What each tensor takes of a layout; `small` are bytes of those that share solid groups."""
    groups = sum(layout.stored_bytes[group.name] for group in layout.index.groups)
    taken = layout.stored_bytes | share(groups, small)
    return tuple(
        TensorReport(
            record.name,
            record.dtype,
            record.shape,
            record.scheme,
            taken.get(record.name, 0),
            bits_per_value(taken.get(record.name, 0), prod(record.shape)),
            record.rel_mse,
        )
        for record in layout.index.records
    )


def _coded_sample(
    source: SampledSource,
    info: TensorInfo,
    scheme: Scheme,
    effort: Effort,
    quantize: Quantize | None,
) -> Coded:
    """The coded form of a tensor's sample, as long as that of the whole tensor is to be."""
    sample, part = _sample(source, info)
    coded = encode_tensor(part, sample, scheme, effort=effort, quantize=quantize)
    if part.nbytes < info.nbytes:
        return _grown(coded, info.nbytes / part.nbytes)
    return coded


def _grown(coded: Coded, times: float) -> Coded:
    """A sample's coded form as long as that of the whole tensor; what it holds does not matter."""
    nbytes = round(coded.data.nbytes * times)
    if isinstance(coded.data, CodedArray):
        header = coded.data.header
        rest = bytes(max(0, nbytes - len(header)))  # zeros that the system has not yet to provide
        return replace(coded, data=CodedArray(header, (rest,)))
    return replace(coded, data=np.zeros(nbytes, np.uint8))


def _sample(source: SampledSource, info: TensorInfo) -> tuple[np.ndarray, TensorInfo]:
    """What is looked at of a tensor, and its own facts."""
    values = source.load(info.name)
    if values.nbytes == info.nbytes:
        return values, info
    return values, replace(info, shape=values.shape, nbytes=values.nbytes)
