"""Hidden states on their way through a network: one for each batch, carried from block to block."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import torch

_HELD: Final = 256 << 20  # bytes of hidden states in memory; what is more goes to a file


class Carried:
    """Hidden states by the number of their batch: in memory, or as bfloat16 in a file.

    The file is a temporary one of `folder`, without a name. It has eight bits of a mantissa, as a
    network that runs in bfloat16; all of them if it is to be `exact`.
    """

    def __init__(
        self, held: int = _HELD, folder: Path | None = None, *, exact: bool = False
    ) -> None:
        self._left, self._folder, self._exact = held, folder, exact
        self._held: dict[int, torch.Tensor] = {}
        self._file: IO[bytes] | None = None
        self._places: dict[int, tuple[int, torch.Size, torch.dtype]] = {}
        self._end = 0

    def __len__(self) -> int:
        """How many there are."""
        return len(self._held) + len(self._places)

    def __getitem__(self, number: int) -> torch.Tensor:
        """The hidden state of a batch, in its own dtype."""
        import torch

        if number in self._held:
            return self._held[number]
        assert self._file is not None
        begin, shape, dtype = self._places[number]
        self._file.seek(begin)
        kept = self._kept(dtype)
        bits = np.frombuffer(bytearray(self._file.read(kept.itemsize * shape.numel())), np.uint8)
        return torch.from_numpy(bits).view(kept).reshape(shape).to(dtype)

    def __setitem__(self, number: int, hidden: torch.Tensor) -> None:
        """Carry another one for a batch; it has the shape of the one before, if there is one.

        It waits in the CPU's memory, wherever it comes from.
        """
        hidden = hidden.cpu()
        if number in self._held:
            self._held[number] = hidden
        elif number not in self._places and hidden.nbytes <= self._left:
            self._held[number], self._left = hidden, self._left - hidden.nbytes
        else:
            self._write(number, hidden)

    def advance(self, step: Callable[[int, torch.Tensor], torch.Tensor]) -> None:
        """Take every one through `step(number, hidden)`."""
        for number in range(len(self)):
            self[number] = step(number, self[number])

    def _kept(self, dtype: torch.dtype) -> torch.dtype:
        """The type in which values lie in the file."""
        import torch

        return dtype if self._exact else torch.bfloat16

    def _write(self, number: int, hidden: torch.Tensor) -> None:
        import torch

        kept = self._kept(hidden.dtype)
        if self._file is None:
            self._file = tempfile.TemporaryFile(  # noqa: SIM115  # it goes with this
                prefix="taut-", dir=self._folder
            )
        if number not in self._places:
            self._places[number] = self._end, hidden.shape, hidden.dtype
            self._end += kept.itemsize * hidden.numel()
        self._file.seek(self._places[number][0])
        values = hidden.detach().to(kept).contiguous().view(-1).view(torch.uint8)
        self._file.write(values.numpy().data)
