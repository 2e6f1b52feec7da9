"""Some tensors of a source, as a source of its own: what goes into one shard."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from taut.io.stamp import Stamp
from taut.io.tensor_info import Source, SourceFile, TensorInfo


@dataclass(frozen=True)
class PartOf:
    """The tensors `names` of `whole`, in its order; a tie whose carrier is not among them ends.

    >>> from taut.io import open_source
    >>> model = open_source({"a": np.zeros(2), "b": np.ones(3)})
    >>> [info.name for info in PartOf(model, ["b"]).infos]
    ['b']
    """

    whole: Source
    names: Collection[str]
    infos: tuple[TensorInfo, ...] = field(init=False)
    aliases: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        names = frozenset(self.names)
        infos = tuple(info for info in self.whole.infos if info.name in names)
        ties = self.whole.aliases.items()
        aliases = {name: of for name, of in ties if name in names and of in names}
        object.__setattr__(self, "infos", infos)
        object.__setattr__(self, "aliases", aliases)

    @property
    def files(self) -> tuple[SourceFile, ...]:
        """The files of the whole."""
        return self.whole.files

    @property
    def metadata(self) -> dict[str, str]:
        """As of the whole."""
        return self.whole.metadata

    @property
    def nbytes(self) -> int:
        """Bytes of these tensors, tied ones once."""
        return sum(info.nbytes for info in self.infos if info.name not in self.aliases)

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
        """Of all files of the whole."""
        return self.whole.stamps

    def load(self, name: str) -> np.ndarray:
        """As the whole gives it."""
        return self.whole.load(name)

    def view(self, name: str) -> np.ndarray:
        """As the whole gives it."""
        return self.whole.view(name)
