"""What an export was asked for, read and frozen: the format, and the options that go with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from taut.errors import ArgumentError
from taut.io.names import nearest
from taut.io.suffixes import names_checkpoint, names_other_format
from taut.progress import Progress

if TYPE_CHECKING:
    import torch

    from taut.networks import CalibrationSpec, ModelSpec

Format: TypeAlias = Literal[
    "safetensors", "hf", "onnx", "gguf", "compressed-tensors", "litert", "executorch", "coreml"
]
DEVICES: Final[tuple[Format, ...]] = ("litert", "executorch", "coreml")  # phones and boards
FORMATS: Final[tuple[Format, ...]] = (
    *("safetensors", "hf", "onnx", "gguf", "compressed-tensors"),
    *DEVICES,
)
FOLDERS: Final[tuple[Format, ...]] = ("hf", "compressed-tensors")  # of Hugging Face's kind
SEVERAL: Final[tuple[Format, ...]] = (*FOLDERS, "coreml")  # files, in a folder

_GOES_WITH: Final[Mapping[str, tuple[Format, ...]]] = {
    "dtype": ("safetensors", "hf"),
    "into": ("hf", "onnx", "gguf", "compressed-tensors", *DEVICES),
    "weights": ("onnx", "gguf", "compressed-tensors", *DEVICES),
    "group_size": ("onnx", "compressed-tensors"),
    "activations": ("onnx", "compressed-tensors", *DEVICES),
    "ranges": ("onnx",),
    "max_error": ("onnx", *DEVICES),
    "calib": ("onnx", "compressed-tensors", *DEVICES),
    "score": ("hf", "onnx", *DEVICES),
}
_OPTIONS: Final = {"group_size": "group-size", "max_error": "max-error"}  # if others
_SUFFIXES: Final[Mapping[str, str]] = {
    ".safetensors": "safetensors",
    ".onnx": "onnx",
    ".gguf": "gguf",
    ".tflite": "litert",
    ".pte": "executorch",
    ".mlpackage": "coreml",
}


@dataclass(frozen=True)
class ExportRequest:
    """What the verb `export` was asked for; None stands for what follows from the file.

    `source` is the Taut file or its folder, `out` what is to be written; the others are as in the
    verb's docstring.
    """

    source: Path
    out: Path
    to: str | None = None
    into: ModelSpec | None = None
    dtype: str | None = None
    weights: str | None = None
    group_size: int | None = None
    activations: str | None = None
    ranges: str | None = None
    max_error: float | None = None
    calib: CalibrationSpec | None = None
    score: Callable[[torch.nn.Module], object] | None = None
    force: bool = False
    threads: int | None = None
    progress: Progress | None = None

    def format(self) -> Format:
        """The format to write, with which all that was given goes.

        Raises:
            ArgumentError: there is no such format, or an option goes with others alone.
        """
        kind = format_of(self.out, self.to)
        for name, formats in _GOES_WITH.items():
            if getattr(self, name) is not None and kind not in formats:
                option = _OPTIONS.get(name, name)
                raise ArgumentError(
                    f"{name} (--{option}) goes with {', '.join(formats)}, and this is {kind}"
                )
        return kind


def format_of(out: Path, to: str | None = None) -> Format:
    """The format that an output's name asks for, or that `to` names.

    Raises:
        ArgumentError: there is no such format, or the name is one of another.

    >>> format_of(Path("net.onnx")), format_of(Path("llama-3.2")), format_of(Path("a"), "gguf")
    ('onnx', 'hf', 'gguf')
    """
    named = to if to is not None else _SUFFIXES.get(out.suffix.lower(), "hf")
    known = next((one for one in FORMATS if one == named), None)
    if known is None:
        raise ArgumentError(
            f'to: format "{to}" is unknown; one of {", ".join(FORMATS)}{nearest(named, FORMATS)}'
        )
    _check_name(out, known, to)
    return known


def _check_name(out: Path, known: Format, to: str | None) -> None:
    """Whether an output may be called so in its format; raises ArgumentError if not."""
    suffix = out.suffix.lower()
    if known in FOLDERS and _names_a_file(out):
        raise ArgumentError(
            f"{out}: {known} is a folder of files, and {suffix} is a file's suffix; name a folder"
            + ("" if to else ", or a file that ends in .safetensors, .onnx, .gguf or .tflite")
        )
    if known not in FOLDERS and _names_a_file(out) and _SUFFIXES.get(suffix) != known:
        raise ArgumentError(f"{out}: {suffix} is the name of another format than {known}; name it "
                            f"{out.stem}{_suffix_of(known)}")  # fmt: skip
    if known == "coreml" and suffix != ".mlpackage":  # by which alone its tools know it
        raise ArgumentError(f"{out}: Core ML's packages end in .mlpackage; name it "
                            f"{out.name}.mlpackage")  # fmt: skip
    if out.name.lower().endswith(".taut.safetensors"):
        raise ArgumentError(f"{out}: is the name of a Taut file; leave .taut out of it")


def _suffix_of(known: Format) -> str:
    """How names of a format end."""
    return next((suffix for suffix, kind in _SUFFIXES.items() if kind == known), "")


def _names_a_file(out: Path) -> bool:
    """Whether a path, which is no folder so far, ends as files do."""
    other = names_checkpoint(out) or names_other_format(out)
    return (other or out.suffix.lower() in _SUFFIXES) and not out.is_dir()
