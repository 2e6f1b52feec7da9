"""A Taut file in, a PyTorch file out: a state dict that the restricted reader opens."""

from __future__ import annotations

from pathlib import Path

from taut.container import TautFile, made_file
from taut.errors import ArgumentError, VerifyError
from taut.extras import need_extra
from taut.io import SAFETENSORS_DTYPES
from taut.io.checkpoint_parts import ALL
from taut.io.torch_files import open_checkpoint
from taut.loading.arrays import tensors_of
from taut.loading.nests import is_nest, nest_of


def write_torch(file: TautFile, target: Path, *, force: bool = False) -> int:
    """Write all tensors as a state dict, or the checkpoint that they were; gives its bytes.

    What was written is read back by the restricted reader and compared before it gets its name.
    Tied tensors share their memory. Holds the whole model.

    Raises:
        ArgumentError: torch is missing, or has no such dtype; `target` exists (and not `force`).
        FormatError, VerifyError: the file is damaged.
    """
    torch = need_extra("torch", "torch", f"{target}: to write this file takes")
    _check_dtypes(file, target)
    state = tensors_of(file)
    saved = nest_of(file, state) if is_nest(file) else state
    with made_file(target, force=force) as path:
        with path.open("wb") as out:  # torch opens no names that are not Unicode
            torch.save(saved, out)
        _check_written(path, file, target)
        return path.stat().st_size


def _check_dtypes(file: TautFile, target: Path) -> None:
    for info in file.infos:
        if info.dtype not in SAFETENSORS_DTYPES and info.dtype != "F4":
            raise ArgumentError(
                f'{target}: tensor "{info.name}" is {info.dtype}, which PyTorch has not; name a '
                ".safetensors"
            )


def _check_written(path: Path, file: TautFile, target: Path) -> None:
    """Hold what the restricted reader gives against the file.

    Raises:
        VerifyError: a tensor is another.
    """
    written = open_checkpoint(path, key=ALL if is_nest(file) else None)
    if written.infos != file.infos:
        raise VerifyError(f"{target}: reads back with other tensors than were written")
    for name in file:
        if file[name].tobytes() != written.load(name).tobytes():
            raise VerifyError(f'{target}: tensor "{name}" reads back as another', tensor=name)
