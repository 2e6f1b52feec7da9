"""A GGUF model as a model folder, by transformers' own reader: what runs, and can be calibrated."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from taut.errors import ArgumentError, TautError
from taut.extras import need_extra
from taut.io.gguf import GgufSource, open_gguf
from taut.io.gguf_merged import write_merged
from taut.io.source import parameters_of
from taut.networks.calls import told
from taut.networks.silence import silence

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_ROOM: Final = 1.5  # times the parameters of the file: tied ones may be there twice


@dataclass(frozen=True)
class GgufFolder:
    """A folder with the network in float32, its config and its tokenizer; `notes` are for the user.

    `source` are the GGUF files that it was made of.
    """

    path: Path
    source: GgufSource
    notes: tuple[str, ...]


@contextlib.contextmanager
def gguf_folder(path: Path, scratch: Path | None = None) -> Iterator[GgufFolder]:
    """Make the folder among temporary files, or in `scratch`; it is gone afterwards.

    Raises:
        ArgumentError: transformers does not read this architecture, or an extra is missing.
        TautError: the disk is full.
    """
    need_extra("torch", "torch", f"{path}: to run it takes")
    need_extra("transformers", "hf", f"{path}: to run it takes")
    need_extra("gguf", "gguf", f"{path}: to run it takes")
    source = open_gguf(path)
    with TemporaryDirectory(prefix="taut-gguf-", dir=scratch) as name:
        folder = Path(name) / path.stem
        if len(source.opened) > 1:  # transformers reads one
            path = Path(name) / "whole.gguf"
            source = _merged(source, path)
        notes = _written(path, folder, source)
        yield GgufFolder(folder, source, notes)


def _merged(source: GgufSource, target: Path) -> GgufSource:
    """The files of a split model as one.

    Raises:
        TautError: the disk is full.
    """
    try:
        write_merged(source, target)
    except OSError as error:
        raise TautError(f"{target}: cannot be written ({error.strerror})") from error
    return open_gguf(target)


def _written(path: Path, folder: Path, source: GgufSource) -> tuple[str, ...]:
    """Write the network and its tokenizer; gives notes."""
    _check_size(path, source)
    model = _loaded(path)
    vars(model)["hf_quantizer"] = None  # it holds floats by now, which can be saved
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    notes = (f"weights are read as float32, as {type(model).__name__} of transformers",)
    try:
        with silence(), contextlib.redirect_stderr(io.StringIO()):  # it draws a bar, too
            model.save_pretrained(folder)
    except OSError as error:
        raise TautError(f"{folder}: cannot be written ({error.strerror})") from error
    return (*notes, *_tokenizer(path, folder))


def _check_size(path: Path, source: GgufSource) -> None:
    """Raise `ArgumentError` where the metadata is of another network than the tensors.

    What an entry does not say transformers takes for that of a usual model, which may be huge, and
    fills it with random numbers.
    """
    import torch
    import transformers

    try:
        with silence(), contextlib.redirect_stderr(io.StringIO()), torch.device("meta"):
            config = transformers.AutoConfig.from_pretrained(
                str(path.parent), gguf_file=path.name, local_files_only=True
            )
            wanted = transformers.AutoModel.from_config(config).num_parameters()  # type: ignore[no-untyped-call]
    except Exception as error:  # transformers names no set of errors
        raise ArgumentError(f"{path}: transformers cannot load it ({told(error)})") from error
    has = parameters_of(source)
    if wanted > _ROOM * has:
        raise ArgumentError(
            f"{path}: transformers cannot load it: by its metadata the network has {wanted:,} "
            f"parameters, and its tensors {has:,}"
        )


def _loaded(path: Path) -> PreTrainedModel:
    import torch
    import transformers

    options = {"gguf_file": path.name, "dtype": torch.float32, "local_files_only": True}
    failed: list[str] = []
    for kind in (transformers.AutoModelForCausalLM, transformers.AutoModel):
        try:  # its reader of GGUF draws a bar, whatever it is told
            with silence(), contextlib.redirect_stderr(io.StringIO()):
                model: PreTrainedModel = kind.from_pretrained(
                    str(path.parent), trust_remote_code=False, **options
                )
        except Exception as error:  # transformers names no set of errors
            failed.append(told(error))
            continue
        return model
    raise ArgumentError(f"{path}: transformers cannot load it ({failed[0]})")


def _tokenizer(path: Path, folder: Path) -> tuple[str, ...]:
    """Write the tokenizer; a note where there is none that transformers can make."""
    import transformers

    try:
        with silence():
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                str(path.parent), gguf_file=path.name, local_files_only=True
            )
            tokenizer.save_pretrained(folder)
    except Exception as error:  # nor here
        return (f"without a tokenizer: transformers makes none of the file ({told(error)})",)
    return ()
