"""What every reader gives: a lazy, ordered sequence of named tensors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from taut.io.stamp import Stamp


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor without its data: `dtype` is safetensors' name for it, `nbytes` is dense."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One safetensors file: its name without folder, and its JSON header to the last space."""

    name: str
    header: str


class Source(Protocol):
    """A model's tensors, in the order of its file, loaded one at a time.

    `aliases` maps a tied name to the name that carries the data, which is never itself an alias;
    both are among `infos`. `nbytes` is the size of the weights on disk, or, in memory and of a part
    of what lies on disk, of the tensors with tied ones counted once. `identity` is what to call
    the model in messages.
    """

    @property
    def infos(self) -> tuple[TensorInfo, ...]:
        """All tensors, in order."""

    @property
    def aliases(self) -> dict[str, str]:
        """Tied names."""

    @property
    def files(self) -> tuple[SourceFile, ...]:
        """The safetensors files, one a shard; () if the model is not from safetensors."""

    @property
    def metadata(self) -> dict[str, str]:
        """`__metadata__` of a single safetensors file, else {}."""

    @property
    def nbytes(self) -> int:
        """Bytes of the weights."""

    @property
    def companions(self) -> tuple[Path, ...]:
        """The config and tokenizer files of a model folder."""

    @property
    def identity(self) -> str:
        """The model's name in messages."""

    @property
    def stamps(self) -> tuple[Stamp, ...]:
        """What the files were when they were opened; () if the model is in memory."""

    def load(self, name: str) -> np.ndarray:
        """One tensor: native dtype, C-contiguous, read-only, in memory that does not change.

        Sub-byte dtypes come as their packed bytes (`taut.io.dtypes.storage`).

        Raises:
            ArgumentError: there is no such tensor.
            VerifyError: the file was cut short since it was opened.
        """

    def view(self, name: str) -> np.ndarray:
        """As `load`, but perhaps of the mapped file: for those who look at little of it."""
