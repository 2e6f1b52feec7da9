"""Tensors that are too large to be held, rounded as they are read: the same bytes.

Their indices lie in a temporary file meanwhile (TMPDIR), a byte or two each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import xxhash

from taut.container import Layout
from taut.container.added import BaseTensor
from taut.encoding.data_free_rounder import Quantizer, StepSearch
from taut.encoding.decoded_sums import AddedTo
from taut.encoding.grid_pieces import grid_ways, rounded_to_grid
from taut.encoding.in_pieces import PieceOptions, add_in_pieces, in_pieces
from taut.encoding.index_file import IndexFile, index_file
from taut.encoding.large_tensor import LargeMatrix
from taut.encoding.masked_pieces import add_masked_pieces, masks_in_pieces
from taut.encoding.on_base import OnBase
from taut.encoding.step_pieces import rounded_to_steps, step_ways
from taut.encoding.tensor import check_scheme
from taut.encoding.ways_in_pieces import CodingWays, PieceCoder, smallest_nbytes
from taut.errors import ArgumentError
from taut.io import Source, TensorInfo, storage
from taut.io.pairs import PairsInfo
from taut.io.tensor_pieces import LARGE, pieces_of, reader_of
from taut.planning import quantisable
from taut.scheme import Scheme
from taut.transform.runtime import GRIDS

_Found = TypeVar("_Found")


def rounds_in_pieces(info: TensorInfo, scheme: Scheme, quantize: object) -> bool:
    """Whether a tensor is so large, and rounded in such a way, that it need not be held.

    What data or a training decide is held: it was in memory as they did.
    """
    if info.nbytes <= LARGE or isinstance(info, PairsInfo):
        return False
    if not quantisable(info.dtype, info.shape):
        return False
    if scheme.kind == "rd":
        return isinstance(quantize, Quantizer)
    return scheme.kind in GRIDS and (quantize is None or isinstance(quantize, Quantizer))


def added_in_pieces(
    layout: Layout, source: Source, info: TensorInfo, scheme: Scheme, options: PieceOptions
) -> bool:
    """Add a tensor that is too large to be held; False where it is not, or has to be held.

    Raises:
        ArgumentError: the scheme cannot be carried out on its values.
    """
    if in_pieces(info, scheme):
        add_in_pieces(layout, source, info, scheme, options)
        return True
    if not lossy_in_pieces(info, scheme, options.quantize):
        return False
    matrix = _checked(source, info, scheme, options)
    known = options.known
    digest = None if known is None else _digest(source, info)
    if known is not None and digest is not None:
        twin = known.first_of_pieces(info, digest, str(scheme))
        if twin is not None:
            layout.add_alias(info, twin)
            return True
    if masks_in_pieces(info, scheme):
        return add_masked_pieces(layout, matrix, options)
    coder = PieceCoder(layout, info, scheme, matrix.read, options.threads)
    _add_rounded(matrix, coder, options)
    return True


def added_sum_in_pieces(
    layout: Layout,
    based: OnBase,
    info: TensorInfo,
    scheme: Scheme,
    base: BaseTensor,
    options: PieceOptions,
) -> bool:
    """Add a tensor that is too large to be held as what it differs by from the base's, rounded.

    False where that does not pay, and nothing is added.

    Raises:
        ArgumentError: the scheme cannot be carried out on what it differs by.
    """
    matrix = _checked(based, info, scheme, options)
    original = reader_of(based.whole, info.name)
    on = AddedTo(base, based.base_reader(info.name))
    if masks_in_pieces(info, scheme):
        return add_masked_pieces(layout, matrix, options, original, on)
    coder = PieceCoder(layout, info, scheme, original, options.threads, on)
    _add_rounded(matrix, coder, options)
    return True


def lossy_in_pieces(info: TensorInfo, scheme: Scheme, quantize: object) -> bool:
    """Whether a tensor is so large, and masked or rounded in such a way, that it is not held."""
    return masks_in_pieces(info, scheme) or rounds_in_pieces(info, scheme, quantize)


def _checked(
    source: Source, info: TensorInfo, scheme: Scheme, options: PieceOptions
) -> LargeMatrix:
    """A tensor that is not held, of which all values are finite."""
    check_scheme(info, scheme)
    matrix = large_matrix(source, info, scheme, options.quantize)
    matrix.check()
    return matrix


def large_matrix(
    source: Source, info: TensorInfo, scheme: Scheme, quantize: object = None
) -> LargeMatrix:
    """A tensor that is not held; what a quantiser knows of it is not found again."""
    if not isinstance(quantize, Quantizer):
        return LargeMatrix.of(source, info, scheme)
    key = f"{info.name} {scheme}"
    matrix = quantize.large.setdefault(key, LargeMatrix.of(source, info, scheme))
    assert isinstance(matrix, LargeMatrix)
    return matrix


def _add_rounded(matrix: LargeMatrix, coder: PieceCoder, options: PieceOptions) -> None:
    """Add a matrix on a grid, or at a step."""
    info, scheme = matrix.info, matrix.scheme
    dtype = storage(info.dtype, info.shape)[0]
    with index_file() as file:
        if scheme.kind in GRIDS:
            grid = _named(matrix, lambda: rounded_to_grid(matrix, file), str(scheme))
            coder.add(grid_ways(grid, dtype, options.effort))
            return
        quantizer = options.quantize
        assert isinstance(quantizer, Quantizer)
        coder.add(_at_step(matrix, quantizer, _step_of(matrix, quantizer), file, dtype))


def _at_step(
    matrix: LargeMatrix, quantizer: Quantizer, step: float, file: IndexFile, dtype: np.dtype
) -> CodingWays:
    trellis = quantizer.rounds_by_trellis(matrix.scheme)
    found = _named(matrix, lambda: rounded_to_steps(matrix, step, file, trellis, quantizer.threads))
    return step_ways(matrix, found, file, dtype, quantizer.effort)


def _step_of(matrix: LargeMatrix, quantizer: Quantizer) -> float:
    """The step of a tensor: by the dial, or that at which it takes its own bits."""
    name, bits = matrix.info.name, matrix.scheme.bits
    if bits is None:
        return quantizer.step_of(name)

    def measured(step: float) -> tuple[int, bool]:
        with index_file() as file:
            ways = _at_step(matrix, quantizer, step, file, np.dtype(np.float32))
            return smallest_nbytes(ways, 1), file.nonzero > 0

    if name not in quantizer.steps:
        search = StepSearch(name, matrix.sample, matrix.count, matrix.largest, measured)
        quantizer.steps[name] = search.step_for(bits)
    return quantizer.steps[name]


def _named(matrix: LargeMatrix, work: Callable[[], _Found], scheme: str = "") -> _Found:
    """What work gives; an error names the tensor."""
    try:
        return work()
    except ArgumentError as error:
        where = f"{matrix.name}: scheme {scheme}: " if scheme else f"{matrix.name}: "
        raise ArgumentError(f"{where}{error}") from None


def _digest(source: Source, info: TensorInfo) -> bytes:
    digest = xxhash.xxh3_128()
    for piece in pieces_of(source, info):
        digest.update(piece.view(np.uint8).data)
    return bytes(digest.digest())
