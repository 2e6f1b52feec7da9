"""The fixed bytes of a Taut file: its header's start, checksums and limits (docs/format.md)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Final

import numpy as np
import xxhash

from taut.errors import FormatError, VerifyError

VERSION: Final = 2  # what is written; 1 is read as well
ALIGNMENT: Final = 8  # of the body and of each blob's end in it
SMALL: Final = 1 << 14  # tensors of fewer decoded bytes go into solid groups
GROUP: Final = 1 << 22  # decoded bytes of a solid group, at most
PACKED: Final = 1 << 14  # coded arrays of fewer bytes go into packs
PACK: Final = 1 << 18  # bytes of a pack, at most: all of it is checked to decode one of its members
INSIDE: Final = 1 << 13  # bytes of a last pack that need no entry, but share the index's checksum
PART: Final = 24  # what a part's length and checksum take in the deflated index, at most
MAGIC: Final = b"LCA1"  # how every array header begins (docs/coding.md); packs leave it out
LARGEST: Final = 1 << 48  # decoded bytes of a tensor, at most

# The checksum lies at a fixed place, so that it can be checked before anything is parsed.
_START: Final = b'{"__metadata__":{"taut":"2","checksum":"'
_ZEROS: Final = b"0" * 16
_VERSIONS: Final = (1, VERSION)
_SHAPE: Final = re.compile(
    rb'\{"__metadata__":\{"taut":"(\d{1,9})","checksum":"([0-9a-f]{16})","index":"([0-9a-f]{16})"[,}]'
)
_OTHER: Final = re.compile(rb'"taut"\s*:\s*"(\d{1,9})"')

Buffer = bytes | bytearray | memoryview | np.ndarray


def xxh3(data: Buffer) -> str:
    """XXH3 of 64 bits and seed 0 as 16 hexadecimal digits; `data` is C-contiguous, any dtype."""
    if isinstance(data, np.ndarray):
        data = as_bytes(data).data
    return xxhash.xxh3_64_hexdigest(data)


def as_bytes(values: np.ndarray) -> np.ndarray:
    """The bytes of a C-contiguous array as a 1-D uint8 view, for any dtype, 0-d and empty too."""
    return values.reshape(-1).view(np.uint8) if values.size else np.empty(0, np.uint8)


def padding(end: int) -> int:
    """How many zero bytes a blob needs whose last part ends at byte `end` of the body."""
    return -end % ALIGNMENT


def free_prefix(names: Iterable[str]) -> str:
    """The first of `taut.`, `taut1.`, ... with which no tensor of the model begins."""
    taken = {name.split(".", 1)[0] for name in names}
    number = 0
    while (prefix := f"taut{number or ''}") in taken:
        number += 1
    return f"{prefix}."


def header_entry(name: str, dtype: str, shape: tuple[int, ...], begin: int, end: int) -> str:
    """One entry of the header; `begin` and `end` are bytes of the body."""
    dims = ",".join(map(str, shape))
    text = json.dumps(name, ensure_ascii=False)
    return f'{text}:{{"dtype":"{dtype}","shape":[{dims}],"data_offsets":[{begin},{end}]}}'


def build_header(entries: Iterable[str], index_checksum: str, room: int = 0) -> bytes:
    """The whole header with its checksum, padded to `room` bytes and to a multiple of 8."""
    start = _START + _ZEROS + f'","index":"{index_checksum}"}},'.encode()
    text = start + ",".join(entries).encode() + b"}"
    size = max(room, len(text))
    text = text.ljust(size + padding(size))
    return _START + xxh3(text).encode() + text[len(_START) + 16 :]


def check_header(raw: bytes, where: str) -> tuple[int, str]:
    """Check version and checksum of a header; gives the version and the index blob's checksum.

    Raises:
        FormatError: it is not a Taut header, or one of another version.
        VerifyError: it does not match its checksum.
    """
    match = _SHAPE.match(raw)
    if match is None:
        other = _OTHER.search(raw, 0, 4096)
        if other and int(other[1]) not in _VERSIONS:
            raise _wrong_version(int(other[1]), where)
        raise FormatError(
            f"{where}: header: not a Taut file (no taut version at its start); "
            "a plain safetensors file is what `taut compress` reads"
        )
    version = int(match[1])
    if version not in _VERSIONS:
        raise _wrong_version(version, where)
    at = len(_START)
    if xxh3(raw[:at] + _ZEROS + raw[at + 16 :]) != match[2].decode():
        raise VerifyError(f"{where}: header (bytes 8..{8 + len(raw)}) does not match its checksum")
    return version, match[3].decode()


def header_checksum(raw: bytes) -> str:
    """The checksum that a header, which was checked, has of itself."""
    return raw[len(_START) : len(_START) + 16].decode()


def _wrong_version(version: int, where: str) -> FormatError:
    return FormatError(
        f"{where}: header: format version {version}, this Taut reads 1 to {VERSION}; update it"
    )
