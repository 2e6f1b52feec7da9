"""Decodes every golden array and file with the Taut that is installed, and compares the bytes.

    python tests/golden/decode.py [FOLDER]

It takes numpy and Taut, no pytest, so that wheels and what is built from an sdist can be checked
where they are made. The exit status is 1 if anything differs; FOLDER is another golden folder.
"""

import json
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import taut
from taut import _core
from taut.coding import Job, decode, decoded_nbytes
from taut.errors import TautError

# Files whose decoded form has another name than their own.
MEANT = {"exact": "model", "exact2": "model2"}
# A file that is about what modules need to be told; its one tensor counts from zero.
MODULES = {"conv1": {"out_channels": 6}, "": {"width": -(2**40)}}


def parts(path: Path) -> dict[str, bytes]:
    """The tensors of a safetensors file as bytes."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    entries = json.loads(data[8:start])
    entries.pop("__metadata__", None)
    return {name: data[start:][slice(*entry["data_offsets"])] for name, entry in entries.items()}


def array_faults(path: Path) -> Iterator[str]:
    """What is wrong with one coded array, with each of the decoder's kernels."""
    found = parts(path)
    header, expected = found["header"], zlib.decompress(found["expected"])
    chunks = [found[f"chunk{i}"] for i in range(len(found) - 2)]
    for kernels in _core.kernels():
        out = np.empty(decoded_nbytes(header), np.uint8)
        decode([Job(header, chunks, out)], kernels=kernels)
        if out.tobytes() != expected:
            yield f"{kernels}: other bytes"


def file_faults(path: Path) -> Iterator[str]:
    """What is wrong with one file: restored as a file, and loaded tensor by tensor."""
    name = path.name.removesuffix(".taut.safetensors")
    if name == "gguf2":
        with TemporaryDirectory() as folder:
            out = Path(folder) / "out.gguf"
            taut.decompress(path, out)
            if out.read_bytes() != path.with_name("gguf2.gguf").read_bytes():
                yield "another file"
        return
    loaded = taut.load(path)
    if name == "modules2":
        if loaded.modules != MODULES or loaded["conv1.bias"].tolist() != [0, 1, 2, 3, 4, 5]:
            yield "other modules"
        return
    if name == "checkpoint2":  # test_files.py looks at the nest, which takes PyTorch
        if loaded["model.w"].shape != (3, 4) or not taut.verify(path):
            yield "another checkpoint"
        return
    meant = path.with_name(f"{MEANT.get(name, name)}.safetensors")
    with TemporaryDirectory() as folder:
        out = Path(folder) / "out.safetensors"
        taut.decompress(path, out)
        if out.read_bytes() != meant.read_bytes():
            yield "another file"
    expected = parts(meant)
    if set(loaded) != set(expected):
        yield "other tensors"
    for tensor in set(loaded) & set(expected):
        if loaded[tensor].tobytes() != expected[tensor]:
            yield f"{tensor}: other bytes"


def main(golden: Path) -> int:
    """Decode all of it, say on stderr what differs; the exit status."""
    arrays = sorted((golden / "arrays").glob("*.safetensors"))
    files = sorted((golden / "files").glob("*.taut.safetensors"))
    faults = [] if arrays and files else [f"{golden}: no golden files"]
    for check, paths in ((array_faults, arrays), (file_faults, files)):
        for path in paths:
            try:
                faults += [f"{path.name}: {fault}" for fault in check(path)]
            except TautError as error:
                faults.append(f"{path.name}: {error}")
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"{len(arrays)} arrays, {len(files)} files, {len(faults)} faults")
    print(f"taut {taut.__version__}, kernels: {', '.join(_core.kernels())}")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent))
