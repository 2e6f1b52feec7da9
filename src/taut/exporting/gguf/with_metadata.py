"""GGUF with the metadata of the GGUF file that a model came from: every entry as it was.

Of what they say `general.file_type` alone is set anew, since the types of the tensors are others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Final

import numpy as np

from taut.container import TautFile, made_file, xxh3
from taut.errors import ArgumentError, VerifyError
from taut.exporting.check import Comparison, size_words
from taut.exporting.gguf.blocks import GRIDS, TYPES, blocks, held_type, own_type, type_of
from taut.exporting.result import Export
from taut.exporting.rounded_again import rounding_notes
from taut.exporting.safetensors import Progress, steps
from taut.extras import need_extra
from taut.io.dtypes import storage
from taut.io.ggml_types import GGML_TYPES, GgmlType
from taut.io.ggml_values import dequantized
from taut.io.gguf import GgufFile
from taut.io.gguf_floats import gguf_head
from taut.io.gguf_header import GgufHeader, GgufTensor
from taut.io.gguf_metadata import METADATA, read_metadata
from taut.loading.gguf_tensors import GgufTensors
from taut.loading.restore_gguf import open_frame
from taut.scheme import recorded_scheme

FILE_TYPES: Final = {"F32": 0, "F16": 1, "BF16": 32, "Q8_0": 7, "Q4_0": 2}
"""Of llama.cpp, by the type of most weights."""

_KINDS: Final = {one.name: one for one in GGML_TYPES.values()}
_FLOATS: Final = ("F32", "F16", "BF16")
_NEVER_ROUNDED: Final = ("I8", "I16", "I32", "I64", "F64")


@dataclass(frozen=True)
class OwnMetadata:
    """The metadata of a GGUF file; `read` gives bytes of the file that `header` is of."""

    header: GgufHeader
    read: Callable[[int, int], bytes]


def metadata_of(file: TautFile) -> OwnMetadata | None:
    """The metadata beside tensors that are called as transformers calls them, if it is there."""
    name = file.index.origin.metadata.get(METADATA)
    if name is None or name not in file:
        return None
    where = f'{file.path}: the GGUF metadata "{name[:80]}"'
    header, whole = read_metadata(file[name].tobytes(), where)
    return OwnMetadata(header, lambda begin, end: whole[begin:end])


def write_with_metadata(
    path: Path,
    metadata: OwnMetadata,
    tensors: Sequence[tuple[str, str, tuple[int, ...]]],
    contents: Iterable[Iterable[np.ndarray]],
    file_type: int,
) -> None:
    """Write a GGUF file of tensors (name, type, shape with the innermost dimension last).

    `contents` are the parts of each.
    """
    listed = [_listed(name, _KINDS[kind], shape) for name, kind, shape in tensors]
    head, placed = gguf_head(metadata.header, metadata.read, listed, file_type=file_type)
    with path.open("wb") as out:
        out.write(head)
        for tensor, parts in zip(placed, contents, strict=True):
            out.write(bytes(tensor.start - out.tell()))
            for part in parts:
                out.write(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data)
        out.write(bytes(-out.tell() % metadata.header.alignment))


def _listed(name: str, kind: GgmlType, shape: tuple[int, ...]) -> GgufTensor:
    return GgufTensor(name, kind, shape, 0, prod(shape) // kind.block * kind.nbytes)


def export_frame(
    file: TautFile,
    out: Path,
    *,
    weights: str | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Export:
    """Write GGUF of a file that was made of GGUF, with tensors in other types.

    Matrices are stored as `weights` says, by default as the file has them, in integers where its
    schemes made such.

    Raises:
        ArgumentError: the model was split, or an extra is missing.
        VerifyError: the file does not read back.
    """
    need_extra("gguf", "gguf", "GGUF takes")
    if weights is not None and weights not in TYPES:
        raise ArgumentError(f"weights {weights}: GGUF takes {', '.join(TYPES)}")
    frame = open_frame(file)
    if len(frame) > 1:
        raise ArgumentError(
            f"{file.path}: was made of {len(frame)} files; give them back with `taut decompress`"
        )
    model, header = GgufTensors(file), frame[0].header
    literal = frame[0].recipe.literal
    wanted = None if weights is None else TYPES[weights]
    types = {name: _type_of(model, name, wanted) for name in model}
    told = steps("write", model.infos, progress)
    sums: dict[str, str] = {}

    def contents() -> Iterator[tuple[np.ndarray]]:
        for name in model:
            data = _data(model, name, types[name])
            sums[name] = xxh3(np.ascontiguousarray(data))
            yield (data,)
            if told is not None:
                told()

    usual = _usual(types, model)
    file_type = FILE_TYPES.get(usual, header.number("general.file_type") or 0)
    tensors = [(name, types[name], model.shape(name)) for name in model]
    own = OwnMetadata(header, lambda begin, end: literal[begin:end])
    with made_file(out, force=force, suffix=".gguf") as path:
        write_with_metadata(path, own, tensors, contents(), file_type)
        found = _compared(GgufFile(path), model, sums)
        size = path.stat().st_size
    nbytes = file.index.origin.nbytes
    return Export(
        path=out,
        format="gguf",
        files=(out,),
        size=size,
        exact=len(found.exact),
        rounded=len(found.rounded),
        check=found.check("Taut's own reader, and by no runtime"),
        notes=(
            f"{usual}: {size_words(nbytes, file.size, size)}; how fast it runs is its runtime's",
            "metadata is that of the original GGUF file",
            *rounding_notes(file, found.rounded),
        ),
    )


def _type_of(model: GgufTensors, name: str, wanted: str | None) -> str:
    """The type to store a tensor in."""
    own, shape = model.types[name], model.shape(name)
    if own not in _FLOATS and (wanted is None or own in _NEVER_ROUNDED):
        return own
    if wanted is not None:
        return type_of(name, shape, wanted)
    scheme = _scheme(model, name)
    if scheme in ("lossless", "keep") or len(shape) < 2:
        return own_type(name, shape, own) if own != "F64" else own
    return held_type(name, shape, own, lambda: [model[name]], scheme)


def _scheme(model: GgufTensors, name: str) -> str:
    record = next(one for one in model.index.records if one.name == name)
    return recorded_scheme(record.scheme).kind


def _data(model: GgufTensors, name: str, kind: str) -> np.ndarray:
    if kind == model.types[name]:
        return model.blocks(name)
    gridded = _scheme(model, name) in GRIDS
    values: np.ndarray = blocks(name, model[name], kind, gridded=gridded)[0]
    return values


def _usual(types: dict[str, str], model: GgufTensors) -> str:
    """The type of most weights of matrices."""
    kinds: Counter[str] = Counter()
    for name, kind in types.items():
        if len(model.shape(name)) >= 2:
            kinds[kind] += prod(model.shape(name))
    return kinds.most_common(1)[0][0] if kinds else "F32"


def _compared(written: GgufFile, model: GgufTensors, sums: dict[str, str]) -> Comparison:
    """Hold what is read back against the Taut file."""
    found = Comparison()
    for tensor in written.header.tensors:
        data = written.read(tensor, 0, tensor.nbytes)
        if xxh3(data) != sums[tensor.name]:
            raise VerifyError(
                f'tensor "{tensor.name}" is not what was written when read back',
                tensor=tensor.name,
            )
        found.add(tensor.name, model[tensor.name], _values(tensor, data))
    return found


def _values(tensor: GgufTensor, data: np.ndarray) -> np.ndarray:
    if tensor.type.dtype:
        return data.view(storage(tensor.type.dtype, tensor.shape)[0]).reshape(tensor.shape)
    rows = data.reshape(*tensor.shape[:-1], -1)
    return dequantized(rows, tensor.type, tensor.name).reshape(tensor.shape)
