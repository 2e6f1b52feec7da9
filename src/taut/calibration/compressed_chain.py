"""A network as the file will have it, a block at a time: no copy of the network is made.

The front, the head, and what is no matrix are small beside the blocks: they are exchanged as long
as the compressed network is at work. A block's matrices are decoded when it runs, and let go. All
that runs runs in float32: of a network in half precision a block is widened for as long. With a
device what is at work lies there for as long, and comes back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from taut.calibration.inputs import Work
from taut.calibration.rounder import Rounder
from taut.calibration.values import written
from taut.calibration.vectors import AS_GIVEN, Vectors
from taut.calibration.worn import wearing, without
from taut.io import Source, TensorInfo
from taut.machine import trim_heap
from taut.networks.chain import Chain, Entered
from taut.networks.chain_cutting import Cutting, pieces_of
from taut.networks.precision import held_tensors, placed

if TYPE_CHECKING:
    import torch


class CompressedChain:
    """Runs the compressed network; `open` it first.

    `cutting` tells how batches are cut that are too large for a block to run on at once.
    `place(tensor)` is the number of the block that holds a matrix of the network, None for what
    lies before and after the blocks.
    """

    def __init__(
        self, work: Work, rounder: Rounder, chain: Chain, cutting: Cutting | None = None
    ) -> None:
        import torch

        self.chain, self.cutting, self._work, self._rounder = chain, cutting, work, rounder
        device = work.request.device
        self._device = None if device is None else torch.device(device)
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
                self._among(info).append(info)
        self._lasting = self._exchanged_while_open()
        self._worn: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.biases: dict[str, np.ndarray] = {}  # of blocks, as corrected so far

    def _among(self, info: TensorInfo) -> list[TensorInfo]:
        """Where a tensor belongs: matrices of blocks apart."""
        place = self.place(info.name)
        if place is not None and self._is_matrix(info):
            return self._inside.setdefault(place, [])
        return self._outside

    def _exchanged_while_open(self) -> list[torch.Tensor]:
        """What lies outside of blocks, and their vectors."""
        inside = {id(one) for block in self.chain.blocks for one in held_tensors(block)}
        network = self._work.model.module
        others = [one for one in held_tensors(network) if id(one) not in inside]
        names = self._work.model.names
        return [*others, *(self.tensors[names[info.name]] for info in self._outside)]

    def place(self, tensor: str) -> int | None:
        """The block that holds a tensor; None for the front and the head."""
        parameter = self._work.model.names.get(tensor, "")
        found = [n for prefix, n in self._prefixes.items() if parameter.startswith(prefix)]
        return found[0] if found else None

    @contextmanager
    def open(self, vectors: Vectors = AS_GIVEN, *, tuned: bool = False) -> Iterator[None]:
        """Within it front, head and vectors are those of the file; blocks are when they run.

        `tuned`: vectors have memory of their own, that may be written to.
        """
        trim_heap()
        source = vectors.over(self._work.source)
        values = self._values(source, self._outside, vectors, tuned)
        with placed(self._lasting, self._device), wearing(self.tensors, values) as worn:
            self._worn = worn
            try:
                yield
            finally:
                self._worn = []

    @contextmanager
    def whole(self, vectors: Vectors) -> Iterator[None]:
        """Within it the network is the compressed one as a whole, where the caller has it."""
        device, self._device = self._device, None
        try:
            with ExitStack() as stack:
                stack.enter_context(self.open(vectors))
                for index in range(len(self.chain)):
                    stack.enter_context(self.block(index))
                yield
        finally:
            self._device = device

    def original(self) -> AbstractContextManager[None]:
        """Within it the network is the original again, whose blocks are still to be `given`."""
        return without(self._worn)

    def given(self, index: int) -> AbstractContextManager[None]:
        """Within it a block runs as the network has it."""
        return placed(held_tensors(self.chain.blocks[index]), self._device)

    @contextmanager
    def block(self, index: int) -> Iterator[None]:
        """Within it a block has its matrices as they are rounded, those that are."""
        with self.given(index), wearing(self.tensors, self._matrices(index)):
            yield

    def pieces(self, batch: object, where: str = "calibration batch") -> list[object]:
        """A batch, or the parts of it that are small enough for a block."""
        import torch

        cut = None if self.cutting is None else self.cutting.of(batch)
        if cut is None:
            return [batch]
        with torch.no_grad():
            count = pieces_of(self.chain.enter(batch, where).hidden)
        return cut.pieces(batch, count) if count > 1 else [batch]

    def enter(self, batch: object, where: str = "calibration batch") -> Entered:
        """What the front makes of a batch, where blocks take it."""
        found = self.chain.enter(batch, where)
        if self._device is None:
            return found
        return replace(found.with_others(self.moved), hidden=self.moved(found.hidden))

    def moved(self, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor where blocks take it."""
        return tensor if self._device is None else tensor.to(self._device)

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
                own = tuned and not self._is_matrix(info)  # matrices are made anew, and not tuned
                yield work.model.names[info.name], np.array(values) if own else values
