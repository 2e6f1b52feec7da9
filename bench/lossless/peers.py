"""The peers of the lossless bench, each used as its own documentation says; all from PyPI."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from bench.data.tensors import Array
from bench.lossless.codec import Codec


class Zstandard(Codec[bytes]):
    """zstd over the raw bytes."""

    fills = False

    def __init__(self, level: int) -> None:
        self._zstd = _module("zstandard")
        self.name, self._level = f"zstd-{level}", level

    def encode(self, arrays: list[Array], dtype: str, threads: int) -> list[bytes]:
        """Code each array as one frame that says its size."""
        compress = self._zstd.ZstdCompressor(level=self._level).compress
        return [compress(_raw(a)) for a in arrays]

    def nbytes(self, coded: bytes) -> int:
        """Return the frame's length."""
        return len(coded)

    def decode(
        self, coded: list[bytes], out: list[Array], dtype: str, threads: int
    ) -> list[object]:
        """Return new bytes objects (the one-shot call; its streams into buffers are slower)."""
        decompress = self._zstd.ZstdDecompressor().decompress
        return [decompress(c) for c in coded]


class Pcodec(Codec[bytes]):
    """pcodec on numbers; bf16 goes in as uint16, for want of a type."""

    fills = True

    def __init__(self, level: int) -> None:
        pcodec = _module("pcodec")
        self.name = f"pcodec-{level}"
        self._standalone = pcodec.standalone
        self._config = pcodec.ChunkConfig(compression_level=level, enable_8_bit=True)

    def encode(self, arrays: list[Array], dtype: str, threads: int) -> list[bytes]:
        """Code each array as one standalone file."""
        return [self._standalone.simple_compress(_numbers(a), self._config) for a in arrays]

    def nbytes(self, coded: bytes) -> int:
        """Return the file's length."""
        return len(coded)

    def decode(
        self, coded: list[bytes], out: list[Array], dtype: str, threads: int
    ) -> list[object]:
        """Decode into the given arrays."""
        for c, o in zip(coded, out, strict=True):
            self._standalone.simple_decompress_into(c, _numbers(o))
        return list(out)


class ZipNN(Codec[bytes]):
    """ZipNN: byte planes and Huffman; 1-byte symbols go in as its 8-bit float type.

    It rotates bf16 and fp16 words inside the caller's buffer, so encode gets copies. Lengths that
    are no multiple of 4 bytes are refused here: they corrupt its heap.
    """

    fills = False
    clobbers = True
    threads = True

    _TYPES: ClassVar = {
        "fp32": "float32",
        "bf16": "bfloat16",
        "fp16": "float16",
        "int8": "float8_e4m3fn",
        "int4": "float8_e4m3fn",
    }

    def __init__(self) -> None:
        self._zipnn = _module("zipnn")
        self.name = "ZipNN"

    def encode(self, arrays: list[Array], dtype: str, threads: int) -> list[bytes]:
        """Code each array with a header of its own."""
        if any(a.nbytes % 4 for a in arrays):
            raise ValueError("ZipNN: odd lengths corrupt its heap")
        compress = self._coder(dtype, threads).compress
        return [compress(_raw(a)) for a in arrays]

    def nbytes(self, coded: bytes) -> int:
        """Return the blob's length."""
        return len(coded)

    def decode(
        self, coded: list[bytes], out: list[Array], dtype: str, threads: int
    ) -> list[object]:
        """Return new bytes objects; it offers no way to give it a buffer."""
        decompress = self._coder(dtype, threads).decompress
        return [decompress(c) for c in coded]

    def _coder(self, dtype: str, threads: int) -> Any:
        return self._zipnn.ZipNN(
            input_format="byte", bytearray_dtype=self._TYPES[dtype], threads=threads
        )


def peers(*, slow: bool) -> tuple[list[Codec[bytes]], list[str]]:
    """Return the peers that are installed, and what is missing; `slow` adds pcodec-12."""
    makers: list[Callable[[], Codec[bytes]]] = [lambda: Zstandard(3), lambda: Pcodec(8), ZipNN]
    if slow:
        makers.insert(2, lambda: Pcodec(12))
    found: list[Codec[bytes]] = []
    missing: list[str] = []
    for make in makers:
        try:
            found.append(make())
        except ImportError as error:
            missing.append(f"{error.name or error}: not installed")
    return found, missing


def _module(name: str) -> ModuleType:
    return importlib.import_module(name)


def _raw(array: Array) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _numbers(array: Array) -> Array:
    flat = array.reshape(-1)
    return flat.view(np.uint16) if flat.dtype.kind == "V" or flat.dtype.name == "bfloat16" else flat
