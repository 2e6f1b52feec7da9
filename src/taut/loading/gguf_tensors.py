"""A Taut file of GGUF as numbers: quantised tensors by name as float32, their blocks beside."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from taut.container import TautFile
from taut.container.read import no_tensor
from taut.container.reader import Reader
from taut.io import TensorInfo
from taut.io.ggml_values import dequantized
from taut.io.gguf import FRAME
from taut.io.gguf_floats import quantised_types
from taut.io.gguf_frame import frame_tensors
from taut.loading.restore_gguf import open_frame

if TYPE_CHECKING:
    from taut.container.index import Index


class GgufTensors(Reader[np.ndarray]):
    """The tensors of a GGUF model in a Taut file, in the model's order, decoded when asked for.

    What was quantised comes as float32, in the shape of the weights; what was not in its own
    dtype. `file` is the Taut file with the blocks as bytes, `types` ggml's names of the types.
    """

    def __init__(self, file: TautFile) -> None:
        self.file = file
        tensors = frame_tensors(open_frame(file))
        frame = file.index.origin.metadata[FRAME]
        self._tensors = {name: tensors[name] for name in file if name != frame}
        self.types: dict[str, str] = {name: one.type.name for name, one in self._tensors.items()}
        self._infos = tuple(
            TensorInfo(name, one.type.dtype, one.shape, one.nbytes)
            if one.type.dtype
            else TensorInfo(name, "F32", one.shape, 4 * prod(one.shape))
            for name, one in self._tensors.items()
        )

    @property
    def infos(self) -> tuple[TensorInfo, ...]:
        """Name, dtype, shape and bytes of each tensor as numbers, in the model's order."""
        return self._infos

    def metadata(self) -> dict[str, str] | None:
        """None: what a GGUF file says beside its tensors is its own, and comes back with it."""
        return self.file.metadata()

    def close(self) -> None:
        """Let go of the file."""
        self.file.close()

    @property
    def forms(self) -> dict[str, str]:
        """The types of what is quantised, as ggml names them, by name."""
        return quantised_types(self._tensors.values())

    @property
    def path(self) -> Path:
        """Where the Taut file lies."""
        return self.file.path

    @property
    def size(self) -> int:
        """Bytes of the Taut file."""
        return self.file.size

    @property
    def index(self) -> Index:
        """The Taut file's table of contents."""
        return self.file.index

    def __getitem__(self, name: str) -> np.ndarray:
        """Decode one tensor.

        Raises:
            ArgumentError: there is no such tensor, or the extra `gguf` is missing.
            VerifyError: it is damaged.
        """
        if name not in self._tensors:
            raise no_tensor(self.path, name, self)
        values = self.file[name]
        kind = self._tensors[name].type
        return values if kind.dtype else dequantized(values, kind, name)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of one tensor's weights."""
        return self._tensors[name].shape

    def blocks(self, name: str) -> np.ndarray:
        """One tensor as the file has it: of what is quantised the bytes, (..., bytes of a row)."""
        return self.file[name]

    def __iter__(self) -> Iterator[str]:
        """The names, in the model's order."""
        return iter(self._tensors)

    def __len__(self) -> int:
        """How many tensors there are."""
        return len(self._tensors)

    def __contains__(self, name: object) -> bool:
        """Whether there is a tensor of this name; decodes nothing."""
        return name in self._tensors

    def load_all(self, *, threads: int | None = None) -> dict[str, np.ndarray]:
        """Decode all tensors; `threads` is the file's."""
        return {name: self[name] for name in self}
