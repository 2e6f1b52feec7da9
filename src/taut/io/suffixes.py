"""What the ends of files' names promise to those who read them by it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

CHECKPOINT_SUFFIXES: Final = (".bin", ".pt", ".pth", ".ckpt")
"""Of PyTorch's files."""

# Of other formats, none of which a file written here under such a name would be.
_OTHERS: Final = (
    ".7z", ".bz2", ".gz", ".h5", ".hdf5", ".json", ".jsonl", ".keras", ".mlmodel",
    ".mlpackage", ".msgpack", ".npy", ".npz", ".onnx_data", ".ot", ".pb", ".pickle", ".pkl", ".pt2",
    ".pte", ".py", ".tar", ".tflite", ".tgz", ".txt", ".xml", ".xz", ".yaml", ".yml", ".zip",
)  # fmt: skip


def names_checkpoint(path: Path) -> bool:
    """Whether a name is one of PyTorch's files, as `torch.save` is given it.

    >>> names_checkpoint(Path("a/best.pth.tar")), names_checkpoint(Path("a.safetensors"))
    (True, False)
    """
    name = path.name.lower()
    return name.endswith((*CHECKPOINT_SUFFIXES, *(f"{one}.tar" for one in CHECKPOINT_SUFFIXES)))


def names_other_format(path: Path) -> bool:
    """Whether a name promises a format that is neither safetensors nor PyTorch's nor ONNX nor GGUF.

    >>> names_other_format(Path("a.npz")), names_other_format(Path("a.out"))
    (True, False)
    """
    return path.suffix.lower() in _OTHERS and not names_checkpoint(path)
