"""A source that stands on another one, and is like it but for what it says itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from taut.io.stamp import Stamp
from taut.io.tensor_info import Source, SourceFile, TensorInfo


class BasedOn:
    """A `Source` that gives whatever `whole` gives; a subclass overrides what is different."""

    whole: Source

    @property
    def infos(self) -> tuple[TensorInfo, ...]:
        """As of the whole."""
        return self.whole.infos

    @property
    def aliases(self) -> dict[str, str]:
        """As of the whole."""
        return self.whole.aliases

    @property
    def files(self) -> tuple[SourceFile, ...]:
        """As of the whole."""
        return self.whole.files

    @property
    def metadata(self) -> dict[str, str]:
        """As of the whole."""
        return self.whole.metadata

    @property
    def nbytes(self) -> int:
        """As of the whole."""
        return self.whole.nbytes

    @property
    def companions(self) -> tuple[Path, ...]:
        """As of the whole."""
        return self.whole.companions

    @property
    def identity(self) -> str:
        """As of the whole."""
        return self.whole.identity

    @property
    def stamps(self) -> tuple[Stamp, ...]:
        """As of the whole."""
        return self.whole.stamps

    @property
    def fixed(self) -> frozenset[str]:
        """As of the whole (`fixed_of`)."""
        return frozenset(getattr(self.whole, "fixed", ()))

    @property
    def notes(self) -> tuple[str, ...]:
        """As of the whole (`notes_of`)."""
        return tuple(getattr(self.whole, "notes", ()))

    def reader(self, name: str) -> Callable[[int, int], np.ndarray] | None:
        """What reads some values of a tensor (`tensor_pieces.file_reader`); None if it is held."""
        return None

    def load(self, name: str) -> np.ndarray:
        """As the whole gives it."""
        return self.whole.load(name)

    def view(self, name: str) -> np.ndarray:
        """As the whole gives it."""
        return self.whole.view(name)
