"""A network as the file will have it, a block at a time: no copy of the network is made.

The front, the head, and what is no matrix are small beside the blocks: they are exchanged as long
as the compressed network is at work. A block's matrices are decoded when it runs, and let go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

import numpy as np

from taut.calibration.inputs import Work
from taut.calibration.overlay import as_stored
from taut.calibration.rounder import Rounder
from taut.calibration.values import written
from taut.calibration.vectors import AS_GIVEN, Vectors
from taut.calibration.worn import wearing, without
from taut.coding import exponent_scale, matrix_levels
from taut.io import Source, TensorInfo
from taut.networks.chain import Chain, Entered

if TYPE_CHECKING:
    import torch

_LEVELS: Final = 256 << 20  # bytes of levels that are kept, so that no block is decoded twice


class CompressedChain:
    """Runs the compressed network; `open` it first.

    `place(tensor)` is the number of the block that holds a matrix of the network, None for what
    lies before and after the blocks.
    """

    def __init__(self, work: Work, rounder: Rounder, chain: Chain) -> None:
        self.chain, self._work, self._rounder = chain, work, rounder
        module = work.model.module
        self.tensors: Mapping[str, torch.Tensor] = {
            **dict(module.named_parameters(remove_duplicate=False)),
            **dict(module.named_buffers(remove_duplicate=False)),
        }
        self._prefixes = {f"{name}.": number for number, name in enumerate(chain.names)}
        self._inside: dict[int, list[TensorInfo]] = {}
        self._outside: list[TensorInfo] = []
        for info in work.source.infos:
            if info.name in work.schemes and info.name in work.model.names:
                place = self.place(info.name)
                if place is not None and self._is_matrix(info):
                    self._inside.setdefault(place, []).append(info)
                else:
                    self._outside.append(info)
        self._worn: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._levels = Levels(rounder, 0)
        self.biases: dict[str, np.ndarray] = {}  # of blocks, as corrected so far

    def place(self, tensor: str) -> int | None:
        """The block that holds a tensor; None for the front and the head."""
        parameter = self._work.model.names.get(tensor, "")
        found = [n for prefix, n in self._prefixes.items() if parameter.startswith(prefix)]
        return found[0] if found else None

    @contextmanager
    def open(
        self, vectors: Vectors = AS_GIVEN, *, tuned: bool = False, again: bool = True
    ) -> Iterator[None]:
        """Within it front, head and vectors are those of the file; blocks are when they run.

        `tuned`: vectors have memory of their own, that may be written to. `again`: blocks run
        more than once, and the matrices stay as they are.
        """
        source = vectors.over(self._work.source)
        self._levels = Levels(self._rounder, _LEVELS if again else 0)
        with wearing(self.tensors, self._values(source, self._outside, vectors, tuned)) as worn:
            self._worn = worn
            try:
                yield
            finally:
                self._worn = []

    @contextmanager
    def whole(self, vectors: Vectors) -> Iterator[None]:
        """Within it the network is the compressed one as a whole."""
        with ExitStack() as stack:
            stack.enter_context(self.open(vectors, again=False))
            for index in range(len(self.chain)):
                stack.enter_context(self.block(index))
            yield

    def original(self) -> AbstractContextManager[None]:
        """Within it the network is the original again, as a whole."""
        return without(self._worn)

    def block(self, index: int) -> AbstractContextManager[object]:
        """Within it a block has its matrices as they are rounded, those that are."""
        return wearing(self.tensors, self._matrices(index))

    def run(self, index: int, entered: Entered, hidden: torch.Tensor) -> torch.Tensor:
        """The hidden state after a compressed block; no gradient flows."""
        import torch

        with torch.no_grad(), self.block(index):
            return self.chain.run(index, entered, hidden)

    def _is_matrix(self, info: TensorInfo) -> bool:
        return self._work.schemes[info.name].kind == "rd" or info.name in self._rounder.grids

    def _matrices(self, index: int) -> Iterator[tuple[str, np.ndarray]]:
        work = self._work
        for info in self._inside.get(index, ()):
            known = self._levels.decoded(info)
            if known is None:
                known = written(work.source, work.schemes, self._rounder, info)
            if known is not None:
                yield work.model.names[info.name], known
        for tensor, bias in self.biases.items():
            if self.place(tensor) == index:
                yield work.model.names[tensor], bias

    def _values(
        self, source: Source, infos: list[TensorInfo], vectors: Vectors, tuned: bool
    ) -> Iterator[tuple[str, np.ndarray]]:
        work = self._work
        for info in infos:
            changed = info.name in vectors.values or (
                tuned and work.schemes[info.name].kind == "fp16"
            )
            values = written(source, work.schemes, self._rounder, info, changed=changed)
            if values is not None:
                yield work.model.names[info.name], np.array(values) if tuned else values


class Levels:
    """Levels of rounded matrices in a byte or two each, from which values are made at once."""

    def __init__(self, rounder: Rounder, room: int) -> None:
        self._rounder, self._left = rounder, room
        self._held: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}

    def decoded(self, info: TensorInfo) -> np.ndarray | None:
        """What a rounded matrix decodes to, in float32; None where it is to be made otherwise."""
        name = self._rounder.twins.get(info.name, info.name)
        if name not in self._held and not self._made(name):
            return None
        levels, rows, columns = self._held[name]
        values: np.ndarray = levels.astype(np.float32)
        values *= rows
        values *= columns
        return as_stored(info, values)

    def _made(self, name: str) -> bool:
        if name not in self._rounder.found:
            return False
        found = self._rounder.found.coded_form(name)
        if any(found.offsets) or 2 * found.indices.size > self._left:
            return False
        levels = matrix_levels(found.indices, trellis=found.trellis)
        most = int(np.abs(levels).max(initial=0))
        kind = np.int8 if most < 128 else np.int16 if most < 1 << 15 else None
        if kind is None:
            return False
        sides = (
            np.ones(n, np.float32) if side is None else exponent_scale(side, found.fraction)
            for n, side in zip(
                found.indices.shape, (found.row_exponents, found.column_exponents), strict=True
            )
        )
        rows, columns = sides
        self._held[name] = levels.astype(kind), (rows * np.float32(found.step))[:, None], columns
        self._left -= self._held[name][0].nbytes
        return True
