"""GGUF files written by hand, right or wrong, without the package that writes them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

KINDS = {
    "F32": (0, 1, 4), "F16": (1, 1, 2), "Q4_0": (2, 32, 18), "Q4_1": (3, 32, 20),
    "Q8_0": (8, 32, 34),
}  # fmt: skip


def string(text: bytes | str, version: int = 3) -> bytes:
    """A length and the bytes."""
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<I" if version == 1 else "<Q", len(raw)) + raw


@dataclass(frozen=True)
class Blob:
    """A tensor: its dimensions as GGUF has them (innermost first), its type, offset and bytes."""

    name: str
    dims: tuple[int, ...]
    kind: int
    data: bytes
    offset: int | None = None


@dataclass(frozen=True)
class Forged:
    """What a file is to have; `count` lies about how many tensors there are."""

    tensors: Sequence[Blob]
    keys: Sequence[tuple[str, int, bytes]] = (("general.architecture", 8, string("llama")),)
    version: int = 3
    alignment: int = 32
    count: int | None = None
    key_count: int | None = None
    padding: bytes = b"\0"

    def but(self, **changes: object) -> bytes:
        """The file with something else."""
        return replace(self, **changes).data()  # type: ignore[arg-type]

    def data(self) -> bytes:
        """The bytes of the file."""
        size = "<I" if self.version == 1 else "<Q"
        head = b"GGUF" + struct.pack("<I", self.version)
        head += struct.pack(size, len(self.tensors) if self.count is None else self.count)
        head += struct.pack(size, len(self.keys) if self.key_count is None else self.key_count)
        for key, kind, value in self.keys:
            head += string(key, self.version) + struct.pack("<I", kind) + value
        body = b""
        for one in self.tensors:
            offset = len(body) if one.offset is None else one.offset
            head += string(one.name, self.version) + struct.pack("<I", len(one.dims))
            head += b"".join(struct.pack(size, dim) for dim in one.dims)
            head += struct.pack("<IQ", one.kind, offset)
            body += self._filled(one.data)
        return self._filled(head) + body

    def _filled(self, data: bytes) -> bytes:
        return data + self.padding * (-len(data) % self.alignment)


def blob(name: str, kind: str, rows: int, columns: int, seed: int = 0) -> Blob:
    """A tensor of weights that look like weights."""
    rng = np.random.default_rng(seed)
    number, block, nbytes = KINDS[kind]
    if block == 1:
        values = rng.normal(0, 0.02, rows * columns).astype("<f4" if kind == "F32" else "<f2")
        return Blob(name, (columns, rows), number, values.tobytes())
    blocks = rows * columns // block
    scales = np.abs(rng.normal(0.01, 0.003, (blocks, nbytes // 18 if kind == "Q4_1" else 1)))
    halves = scales.astype("<f2").view(np.uint8)
    if kind == "Q8_0":
        codes = np.clip(np.rint(rng.normal(0, 40, (blocks, 32))), -127, 127).astype(np.int8)
        data = codes.view(np.uint8)
    else:
        q = np.clip(np.rint(rng.normal(7.5, 2.5, (blocks, 32))), 0, 15).astype(np.uint8)
        data = q[:, :16] | q[:, 16:] << 4
        if kind == "Q4_1":
            halves = np.concatenate([halves, halves ^ np.uint8([0, 128])], 1)[:, :4]
    return Blob(name, (columns, rows), number, np.concatenate([halves, data], 1).tobytes())


def small_model() -> Forged:
    """A file with blocks of three types, floats, an odd order, and metadata of all kinds."""
    tokens = struct.pack("<IQ", 8, 3) + string("a") + string("\N{SNOWMAN}") + string(b"\xff")
    nested = struct.pack("<IQ", 9, 1) + struct.pack("<IQ", 4, 2) + struct.pack("<II", 1, 2)
    keys = (
        ("general.architecture", 8, string("llama")),
        ("general.alignment", 4, struct.pack("<I", 64)),
        ("tokenizer.ggml.tokens", 9, tokens),
        ("x.nested", 9, nested),
        ("x.scores", 9, struct.pack("<IQ", 6, 2) + struct.pack("<2f", 0.5, -1)),
        ("x.yes", 7, b"\1"),
        ("x.double", 12, struct.pack("<d", 2.5)),
        ("general.file_type", 4, struct.pack("<I", 2)),
    )
    tensors = (
        blob("token_embd.weight", "Q8_0", 90, 128, 1),
        blob("blk.0.attn_norm.weight", "F32", 1, 128, 2),
        blob("blk.0.ffn_up.weight", "Q4_0", 96, 128, 3),
        blob("blk.0.ffn_down.weight", "Q4_1", 128, 96, 4),
        blob("output.weight", "F16", 40, 128, 5),
    )
    return Forged(tensors, keys, alignment=64)
