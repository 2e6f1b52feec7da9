"""What is beside the tensors of GGUF files, out of a Taut file: the files again, with holes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from taut.errors import FormatError
from taut.io._onnx_recipe import RecipeFile, plain_path, unpack_recipe
from taut.io.gguf_header import GgufHeader, GgufTensor, read_gguf_header


@dataclass(frozen=True)
class FrameFile:
    """A GGUF file without its tensors: `recipe` says where they go, `header` what they are."""

    recipe: RecipeFile
    header: GgufHeader


def read_frame(packed: np.ndarray, where: str) -> tuple[FrameFile, ...]:
    """The files of a frame, in order; nothing of it is trusted.

    Raises:
        FormatError: it breaks a rule of docs/format.md; says which.
    """
    found = []
    for recipe in unpack_recipe(packed.tobytes(), where):
        if "/" in plain_path(recipe.name) or recipe.name.startswith("."):
            raise FormatError(f"{where}: {recipe.name[:80]!r} is not the plain name of a file")
        found.append(FrameFile(recipe, _header(recipe, f'{where} of "{recipe.name[:80]}"')))
    return tuple(found)


def frame_tensors(files: tuple[FrameFile, ...]) -> dict[str, GgufTensor]:
    """All tensors of the files, by name."""
    return {one.name: one for file in files for one in file.header.tensors}


def _header(recipe: RecipeFile, where: str) -> GgufHeader:
    """The header, which lies before the first hole, with the tensors that have one."""
    holes = {hole.tensor: hole for hole in recipe.holes}
    first = recipe.holes[0].begin if recipe.holes else recipe.nbytes

    def read(begin: int, end: int) -> bytes:
        return recipe.literal[begin : min(end, first)]

    header = read_gguf_header(read, recipe.nbytes, where)
    for tensor in header.tensors:
        hole = holes.pop(tensor.name, None)
        place = None if hole is None else (hole.begin, hole.end, hole.encoding, hole.key)
        meant = (tensor.start, tensor.start + tensor.nbytes, "raw", 0)
        if tensor.nbytes and place != meant:
            raise FormatError(f'{where}: tensor "{tensor.name[:80]}" has no room, or another one')
    if holes or header.data > first:
        raise FormatError(f"{where}: wants tensors that its header does not name")
    return header
