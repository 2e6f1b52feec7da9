"""Sizes and memory before the work starts, from a sample of each tensor."""

from __future__ import annotations

import sys
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
from taut.planning import quantisable
from taut.scheme import Scheme

if TYPE_CHECKING:
    from taut.analysis.foretold import Needs

_TORCH = 400 << 20  # bytes: PyTorch and transformers
_BATCH = 400 << 20  # bytes: what backward passes keep of a batch, of a network that is one block
_WEIGHT = 32  # bytes: two networks, indices, decoded values, optimiser's and coder's copies
_LARGE = 1 << 25  # weights, from which a network of blocks is rounded in one pass, without copies
_ROUNDED = 4  # bytes of such a weight: an index, and what is coded of it
_FACTORED = 20  # bytes of an entry of the largest metric while it is factored
_WIDEST = 8192
_FIXED = 16 << 20  # bytes: solid groups, tables of contents, the coder's own buffers


def estimate_memory(source: Source, *, calibrated: bool = False, tokens: int = 0) -> int:
    """Peak memory in bytes: what the process holds now, and the largest tensor three times.

    Once as it is, once coded, and once decoded to be compared; of one that is read in pieces
    (`held_nbytes`) less. A `calibrated` run on so many `tokens` (0: not known yet) also holds
    PyTorch, the metrics and rounded matrices, of a small network two copies, and what a block
    makes of a batch. Files that are mapped do not count.
    """
    if calibrated:
        return estimate_memory(source) + _calibrated_memory(source, tokens)
    largest = max((held_nbytes(source, info) for info in source.infos), default=0)
    return int(psutil.Process().memory_info().rss) + 3 * largest + _FIXED


def estimate_scratch(source: Source, tokens: int) -> int:
    """Bytes of temporary files that a calibrated run on so many tokens writes."""
    return _needs(source, tokens).disk


def _calibrated_memory(source: Source, tokens: int) -> int:
    torch = 0 if "torch" in sys.modules else _TORCH
    shapes = [*_matrices(source).values()]
    weights = sum(rows * columns for rows, columns in shapes)
    squares = max((n * n for shape in shapes for n in shape if n <= _WIDEST), default=0)
    collecting, factoring = _needs(source, tokens).memory, _FACTORED * squares
    if weights >= _LARGE:
        return torch + max(collecting, factoring + weights * _ROUNDED)
    return torch + _BATCH + weights * _WEIGHT + collecting + factoring


def _needs(source: Source, tokens: int) -> Needs:
    from taut.analysis.foretold import foretell

    narrow = any(info.dtype in ("F16", "BF16") for info in source.infos)
    return foretell(_matrices(source), narrow=narrow, tokens=tokens)


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
