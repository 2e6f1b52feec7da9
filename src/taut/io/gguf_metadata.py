"""The metadata of a GGUF file beside tensors that are called otherwise, as transformers does.

It is one more tensor: a GGUF file without tensors, deflated.
"""

from __future__ import annotations

import struct
import zlib
from functools import cached_property
from typing import Final

import numpy as np

from taut.errors import FormatError
from taut.io.based_on import BasedOn
from taut.io.gguf import GgufSource, unused
from taut.io.gguf_header import MAGIC, GgufHeader, read_gguf_header
from taut.io.tensor_info import Source, TensorInfo

METADATA: Final = "taut.gguf.metadata"
"""The key of the metadata that names the tensor with that of a GGUF file."""

_USUAL: Final = "gguf.metadata"
_MOST: Final = 1 << 30  # bytes
_ROOM, _RATIO = 262_144, 100  # what it may inflate to, as in docs/format.md


class WithGgufMetadata(BasedOn):
    """A `Source` with one more tensor: the metadata of the GGUF file that it was made of.

    Its size is that of the GGUF file.
    """

    def __init__(self, whole: Source, gguf: GgufSource, notes: tuple[str, ...] = ()) -> None:
        self.whole, self._gguf, self._more = whole, gguf, notes
        self._name = unused(_USUAL, {info.name for info in whole.infos})

    @cached_property
    def _packed(self) -> np.ndarray:
        file = self._gguf.opened[0]
        header = file.header
        head = struct.pack("<IQQ", header.version, 0, len(header.keys))
        whole = MAGIC + head + file.bytes(header.keys_begin, header.keys_end)
        packer = zlib.compressobj(9, zlib.DEFLATED, -15, 9)
        packed = np.frombuffer(packer.compress(whole) + packer.flush(), np.uint8)
        packed.flags.writeable = False
        return packed

    @property
    def infos(self) -> tuple[TensorInfo, ...]:
        """Those of the whole, and the metadata."""
        size = self._packed.nbytes
        return (*self.whole.infos, TensorInfo(self._name, "U8", (size,), size))

    @property
    def metadata(self) -> dict[str, str]:
        """The whole's, and the name of the tensor."""
        return {**self.whole.metadata, METADATA: self._name}

    @property
    def nbytes(self) -> int:
        """Those of the GGUF file."""
        return self._gguf.nbytes

    @property
    def fixed(self) -> frozenset[str]:
        """The whole's, and the metadata."""
        return super().fixed | {self._name}

    @property
    def notes(self) -> tuple[str, ...]:
        """The whole's, and what was told of the reading."""
        return (*super().notes, *self._more)

    def load(self, name: str) -> np.ndarray:
        """As the whole gives it; or the metadata."""
        return self._packed if name == self._name else self.whole.load(name)

    def view(self, name: str) -> np.ndarray:
        """As `load`, perhaps mapped."""
        return self._packed if name == self._name else self.whole.view(name)


def read_metadata(packed: bytes, where: str) -> tuple[GgufHeader, bytes]:
    """The header of what `WithGgufMetadata` packed, and the file that it is of.

    Raises:
        FormatError: it is none.
    """
    limit = min(_MOST, _ROOM + _RATIO * len(packed))
    reader = zlib.decompressobj(-15)
    try:
        whole = reader.decompress(packed, limit + 1)
    except zlib.error as error:
        raise FormatError(f"{where}: not a deflate stream ({error})") from None
    if len(whole) > limit or not reader.eof or reader.unused_data:
        raise FormatError(f"{where}: not one deflate stream of at most {limit} bytes")
    header = read_gguf_header(lambda begin, end: whole[begin:end], len(whole), where)
    if header.tensors or header.end != len(whole):
        raise FormatError(f"{where}: holds more than metadata")
    return header, whole
