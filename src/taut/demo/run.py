"""The demo's way: compress MiniLM bit-exactly and at a few sizes, decode, compare embeddings."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import taut
from taut.container import check_destination
from taut.demo.minilm import SentenceEncoder, find_minilm, read_sentences
from taut.demo.similarity import mean_cosine, similarity_spearman
from taut.errors import VerifyError

if TYPE_CHECKING:
    from taut.compression.foreseen import Result

DEMO_BITS = (4.0, 3.0, 2.5)
_SUFFIX = ".taut.safetensors"
_DECODES = 3  # the fastest counts: the first also pays for cold pages and caches

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class DemoRow:
    """One file against the original: size in bytes, bits per weight, fidelity, speed.

    `encode` (with writing and verifying) and `decode` are bytes of the original per second,
    None for the original itself.
    """

    name: str
    file: str
    size: int
    ratio: float
    bits: float
    cosine: float
    spearman: float
    encode: float | None
    decode: float | None


@dataclass(frozen=True)
class DemoReport:
    """The demo's table; `sha256` is the original's and the decompressed lossless file's."""

    parameters: int
    sentences: int
    sha256: str
    rows: tuple[DemoRow, ...]

    def to_json(self) -> dict[str, object]:
        """The report as plain JSON values."""
        return {**asdict(self), "rows": [asdict(row) for row in self.rows]}


def run_demo(
    folder: Path,
    *,
    bits: Sequence[float] = DEMO_BITS,
    threads: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> DemoReport:
    """Compress the installed MiniLM into `folder`, decode every file, and measure each.

    Raises ArgumentError when the extra `demo` is missing, and VerifyError when the lossless file
    does not give the original back byte for byte.
    """
    step = progress or (lambda stage, done, total: None)
    home = find_minilm()
    source = home / "model.safetensors"
    wanted: dict[str, float | None] = {"lossless": None, **{f"{b:g} bits": b for b in bits}}
    targets = [folder / f"minilm-{name.replace(' ', '-')}{_SUFFIX}" for name in wanted]
    for target in targets:
        check_destination(target, force=force)
    step("original", 0, 1)
    sentences = read_sentences()
    encoder = SentenceEncoder(home, sentences)
    reference = encoder.embed(encoder.original())
    step("original", 1, 1)

    rows = []
    for (name, goal), target in zip(wanted.items(), targets, strict=True):
        step(name, 0, 2)
        result = taut.compress(source, target, bits=goal, threads=threads, force=force)
        step(name, 1, 2)
        net = taut.load(target, into=encoder.blank(), threads=threads)
        rows.append(_measure(name, result, reference, encoder.embed(net), threads))
        step(name, 2, 2)

    step("proof", 0, 1)
    digest = _prove(source, Path(rows[0].file), threads, force)
    step("proof", 1, 1)
    return DemoReport(result.parameters, len(sentences), digest, (_original(source, result), *rows))


def _original(source: Path, result: Result) -> DemoRow:
    size = source.stat().st_size
    bits = 8 * size / result.parameters
    return DemoRow("original", str(source), size, 1.0, bits, 1.0, 1.0, None, None)


def _measure(
    name: str,
    result: Result,
    reference: np.ndarray,
    embedded: np.ndarray,
    threads: int | None,
) -> DemoRow:
    return DemoRow(
        name=name,
        file=str(result.path),
        size=result.size,
        ratio=result.ratio,
        bits=result.bits,
        cosine=mean_cosine(reference, embedded),
        spearman=similarity_spearman(reference, embedded),
        encode=result.original_size / result.seconds,
        decode=result.original_size / _decode_seconds(result.path, threads),
    )


def _decode_seconds(path: Path, threads: int | None) -> float:
    """Seconds from the closed file to every tensor in memory, checksums included."""
    best = float("inf")
    for _ in range(_DECODES):
        begin = time.perf_counter()
        taut.load(path, threads=threads).load_all()
        best = min(best, time.perf_counter() - begin)
    return best


def _prove(source: Path, compressed: Path, threads: int | None, force: bool) -> str:
    """Decompress, compare SHA-256 with the original's, and give the digest."""
    restored = compressed.with_name("minilm-decompressed.safetensors")
    taut.decompress(compressed, restored, threads=threads, force=force)
    digests = []
    for path in (source, restored):
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    if digests[0] != digests[1]:
        raise VerifyError(f"{restored}: sha256 {digests[1]}, but the original's is {digests[0]}")
    return digests[0]
