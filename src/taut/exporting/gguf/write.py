"""One GGUF file, as llama.cpp and its kin read it, through the `gguf` package.

Written are networks whose layout is known (docs/export.md lists them): tensors under GGUF's names,
what the config says, and the vocabulary where it can be told. Tensors pass one at a time.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from taut.container import TautFile, made_file, xxh3
from taut.errors import ArgumentError, VerifyError
from taut.exporting.check import Comparison, size_words
from taut.exporting.companions import read_config
from taut.exporting.gguf.blocks import GRIDS, TYPES
from taut.exporting.gguf.load_back import Read, Tensor, load_gguf
from taut.exporting.gguf.networks import (
    Config,
    GgufNetwork,
    network_named,
    number,
    pooling,
)
from taut.exporting.gguf.placing import Placing, place_tensors
from taut.exporting.gguf.row_parts import RowParts, StoredParts
from taut.exporting.gguf.vocabulary import GgufTokenizer, read_tokenizer
from taut.exporting.gguf.with_metadata import (
    FILE_TYPES,
    OwnMetadata,
    metadata_of,
    write_with_metadata,
)
from taut.exporting.result import Export
from taut.exporting.rounded_again import named, rounding_notes
from taut.exporting.safetensors import Progress, steps
from taut.extras import need_extra

if TYPE_CHECKING:
    from gguf import GGUFWriter


def export_gguf(
    file: TautFile,
    out: Path,
    companions: Path,
    *,
    weights: str | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Export:
    """Write one GGUF file; `companions` is the model folder with the config and the tokenizer.

    `weights` is float32, float16, bfloat16, int8 (Q8_0) or int4 (Q4_0), by default what the
    schemes of the matrices say, else the file's own dtype.

    Raises:
        ArgumentError: the network is none that is written, or `gguf` is missing.
        VerifyError: the file does not read back.
        TautError: it cannot be written.
    """
    need_extra("gguf", "gguf", "GGUF takes")
    import gguf

    if weights is not None and weights not in TYPES:
        raise ArgumentError(f"weights {weights}: GGUF takes {', '.join(TYPES)}")
    config = read_config(companions)
    network = network_named(config, f"{companions}/config.json")
    keys = network.keys(config)
    own = metadata_of(file)
    tokenizer = None
    if own is None:
        with _silence():
            tokenizer = read_tokenizer(companions, int(keys["vocab_size"]))
    placing = place_tensors(file, network, config, None if weights is None else TYPES[weights])
    with made_file(out, force=force, suffix=".gguf") as path, _silence():
        if own is not None:
            written = _write_own(path, own, file, placing, progress)
        else:
            writer = gguf.GGUFWriter(path, network.arch)
            try:
                _add_metadata(writer, companions, network, config, placing.usual())
                if tokenizer is None:
                    writer.add_tokenizer_model("no_vocab")
                else:
                    tokenizer.add_to(writer)
                written = _write(path, writer, file, placing.tensors, progress)
            finally:
                writer.close()
        read = Read(path, placing.tensors, network.arch)
        found = _compare(read, file, written.sums, progress)
        runtime = load_gguf(read, companions)
        size = path.stat().st_size
    return Export(
        path=out,
        format="gguf",
        files=(out,),
        size=size,
        exact=len(found.exact),
        rounded=len(found.rounded),
        check=found.check(runtime),
        notes=(
            *_notes(file, size, placing, tokenizer, own),
            *rounding_notes(file, found.rounded, written.kept),
        ),
    )


def _add_metadata(
    writer: GGUFWriter, companions: Path, network: GgufNetwork, config: Config, usual: str
) -> None:
    """Write what the config says, and how the weights are stored."""
    keys = network.keys(config)
    for key, value in keys.items():
        full = f"{network.arch}.{key}"
        if isinstance(value, bool):
            writer.add_bool(full, value)
        elif isinstance(value, int):
            writer.add_uint32(full, value)
        else:
            writer.add_float32(full, value)
    if network.arch == "bert":
        writer.add_token_type_count(number(config, "type_vocab_size", 1))
        if (how := pooling(companions)) is not None:
            writer.add_uint32(f"{network.arch}.pooling_type", how)
    writer.add_name(companions.resolve().name)
    writer.add_file_type(FILE_TYPES[usual])
    writer.add_quantization_version(2)


@dataclass(frozen=True)
class _Written:
    """Checksums of the tensors' bytes, by GGUF's names, and whose integers were kept."""

    sums: dict[str, str]
    kept: set[str]


def _write(
    path: Path,
    writer: GGUFWriter,
    file: TautFile,
    tensors: Sequence[Tensor],
    progress: Progress | None,
) -> _Written:
    """Write the tensors."""
    from gguf import GGMLQuantizationType
    from gguf.quants import quant_shape_to_byte_shape

    for tensor in tensors:
        kind = GGMLQuantizationType[tensor.kind]
        dtype = np.dtype({"F32": np.float32, "F16": np.float16}.get(tensor.kind, np.uint8))
        shape = tensor.shape
        if dtype == np.uint8:
            shape = quant_shape_to_byte_shape(shape, kind)
        nbytes = int(np.prod(shape)) * dtype.itemsize
        writer.add_tensor_info(tensor.name, shape, dtype, nbytes, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    written = _Written({}, set())
    told = steps("write", [tensor.info for tensor in tensors], progress)
    alignment = writer.data_alignment
    writer.close()
    with path.open("ab") as out:  # the package's own way takes a tensor whole
        for tensor in tensors:
            out.write(bytes(-out.tell() % alignment))
            for part in _stored(file, tensor, written):
                little = part.astype(part.dtype.newbyteorder("<"), copy=False)
                out.write(little.reshape(-1).view(np.uint8).data)
            out.write(bytes(-out.tell() % alignment))
            if told is not None:
                told()
    return written


def _write_own(
    path: Path,
    own: OwnMetadata,
    file: TautFile,
    placing: Placing,
    progress: Progress | None,
) -> _Written:
    """Write the tensors behind the metadata that the model came with."""
    written = _Written({}, set())
    told = steps("write", [tensor.info for tensor in placing.tensors], progress)

    def contents() -> Iterator[Iterator[np.ndarray]]:
        for tensor in placing.tensors:
            yield _stored(file, tensor, written)
            if told is not None:
                told()

    tensors = [(tensor.name, tensor.kind, tensor.shape) for tensor in placing.tensors]
    write_with_metadata(path, own, tensors, contents(), FILE_TYPES[placing.usual()])
    return written


def _stored(file: TautFile, tensor: Tensor, written: _Written) -> Iterator[np.ndarray]:
    """A tensor as it is stored; `written` notes its checksum, and whether its integers are kept."""
    parts = StoredParts(RowParts(file, tensor))
    yield from parts
    written.sums[tensor.name] = parts.sum
    if parts.kept:
        written.kept.add(tensor.info.name)


def _compare(
    read: Read, file: TautFile, sums: dict[str, str], progress: Progress | None
) -> Comparison:
    """Hold what the package's own reader gives against the Taut file."""
    found, told = Comparison(), steps("check", [tensor.info for tensor in read.tensors], progress)
    for tensor in read.tensors:
        if xxh3(read.data(tensor)) != sums[tensor.name]:
            raise VerifyError(
                f'tensor "{tensor.name}" is not what was written when read back',
                tensor=tensor.info.name,
            )
        parts = RowParts(file, tensor)
        found.add_pieces(
            tensor.info.name,
            (
                (parts.own(begin, end), read.rows(tensor, begin, end, parts.heads(begin, end)))
                for begin, end in parts.bounds
            ),
        )
        if told is not None:
            told()
    return found


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """No words of the package: what matters is told in ours."""
    logger = logging.getLogger("gguf")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _notes(
    file: TautFile,
    size: int,
    placing: Placing,
    tokenizer: GgufTokenizer | None,
    own: OwnMetadata | None,
) -> list[str]:
    """What became of the model, in honest words."""
    notes = [
        f"{placing.usual()}: {size_words(file.index.origin.nbytes, file.size, size)}; how fast it "
        "runs is its runtime's"
    ]
    if own is not None:
        notes.append("metadata is that of the original GGUF file")
    elif tokenizer is None:
        notes.append(
            "without a vocabulary: the folder has no tokenizer; llama.cpp's own programs end at "
            "such a file, others take numbers of tokens and no text"
        )
    else:
        notes.extend(tokenizer.vocabulary.notes)
    if left := placing.left:
        more = f" and {len(left) - 3} more" if len(left) > 3 else ""
        notes.append(f"not written, as runtimes make them anew: {', '.join(left[:3])}{more}")
    unheld = [
        tensor.info.name
        for tensor in placing.tensors
        if tensor.scheme in GRIDS
        and len(tensor.shape) > 1
        and tensor.kind in ("F32", "F16", "BF16")
    ]
    if unheld:
        notes.append(
            f"{named(unheld)} on a grid that no integers of GGUF hold (there, 32 weights in a "
            "stored row have one scale): written as floats"
        )
    return notes
