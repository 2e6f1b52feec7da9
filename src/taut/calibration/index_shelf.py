"""Where rounded matrices wait to be written: in memory, or beyond a bound mapped from a file.

A network in one pass is rounded long before it is coded: a byte or two of each of its weights, 7 GB
of 7 billion.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from taut.errors import ArgumentError
from taut.transform import Rounded

HELD: Final = 256 << 20
"""Bytes of indices that stay in memory."""

_CHUNK: Final = 1 << 26  # bytes of a file: matrices share them, since thousands would be too many
_ALIGNED: Final = 64


class IndexShelf:
    """Puts indices in temporary files of `folder` (None: where the system has them).

    The files have no name, and go with the matrices that lie in them.
    """

    def __init__(self, folder: Path | None = None, held: int | None = None) -> None:
        self._folder, self._most = folder, HELD if held is None else held
        self._room = np.empty(0, np.uint8)

    def kept(
        self, found: Mapping[str, Rounded], beside: Iterable[Rounded] = ()
    ) -> dict[str, Rounded]:
        """The same matrices: in memory as far as there is room `beside` what lies there already.

        Raises:
            ArgumentError: there is no room on the disk.
        """
        left = self._most - sum(map(_in_memory, beside))
        kept: dict[str, Rounded] = {}
        for name, one in found.items():
            size = _in_memory(one)
            if size > left:
                one = replace(one, indices=self._mapped(one.indices))
            else:
                left -= size
            kept[name] = one
        return kept

    def _mapped(self, indices: NDArray[np.signedinteger]) -> NDArray[np.signedinteger]:
        size = -(-indices.nbytes // _ALIGNED) * _ALIGNED
        if size > self._room.nbytes:
            self._room = self._chunk(max(size, _CHUNK))
        part, self._room = self._room[: indices.nbytes], self._room[size:]
        found = part.view(indices.dtype).reshape(indices.shape)
        found[...] = indices
        return found

    def _chunk(self, size: int) -> NDArray[np.uint8]:
        folder = self._folder or Path(tempfile.gettempdir())
        try:
            with tempfile.TemporaryFile(prefix="taut-", dir=folder) as file:
                if hasattr(os, "posix_fallocate"):  # else a full disk ends the process
                    os.posix_fallocate(file.fileno(), 0, size)
                return np.memmap(file, np.uint8, "w+", shape=(size,))  # it keeps its own handle
        except OSError as error:
            raise ArgumentError(
                f"{folder}: rounded matrices cannot be kept there ({error.strerror}); name "
                "another folder as scratch (--scratch)"
            ) from error


def _in_memory(rounded: Rounded) -> int:
    """Bytes of indices that do not lie in a file."""
    return 0 if isinstance(rounded.indices, np.memmap) else rounded.indices.nbytes
