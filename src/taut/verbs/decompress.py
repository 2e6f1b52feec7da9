"""The verb `decompress`: a Taut file in, the model as it was out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from taut.display import displayed
from taut.loading.restore import Restored
from taut.loading.restore import decompress as restore

if TYPE_CHECKING:
    from taut.container import BaseSpec
    from taut.io.file_objects import BinaryFile
    from taut.loading.load import FileSpec
    from taut.progress import Shown

__all__ = ["Restored", "decompress"]


def decompress(
    src: FileSpec,
    dst: str | Path | BinaryFile | None = None,
    *,
    threads: int | None = None,
    force: bool = False,
    base: BaseSpec | None = None,
    progress: Shown = True,
) -> Restored:
    """Write the model that a Taut file holds as safetensors, as a PyTorch file, or as it was.

    A lossless file gives the original's bytes, a lossy one the same header with other values.
    Without `dst` what is written lies beside the file, under its name: net.safetensors. One file
    becomes the file `dst`, or goes to an open one; several shards, and a model folder with its
    other files, go to the folder `dst`. What was ONNX or GGUF is that again; a `dst` that ends in
    .pt, .pth, .bin or .ckpt is a state dict, written by torch. A delta is decoded with its `base`.

    Raises:
        ArgumentError: `dst` exists (and not `force`) or is of the wrong kind.
        FormatError, VerifyError: the file is damaged; nothing is written.
        TautError: the disk is full, or cannot be written for another reason.
    """
    with displayed(progress) as step:
        return restore(src, dst, threads=threads, force=force, base=base, progress=step)
