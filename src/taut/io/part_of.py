"""Some tensors of a source, as a source of its own: what goes into one shard."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

from taut.io.based_on import BasedOn
from taut.io.tensor_info import Source, TensorInfo
from taut.io.tensor_pieces import Read, file_reader


@dataclass(frozen=True)
class PartOf(BasedOn):
    """The tensors `names` of `whole`, in its order; a tie whose carrier is not among them ends.

    >>> import numpy as np
    >>> from taut.io import open_source
    >>> model = open_source({"a": np.zeros(2), "b": np.ones(3)})
    >>> [info.name for info in PartOf(model, ["b"]).infos]
    ['b']
    """

    whole: Source
    names: Collection[str]

    @cached_property
    def infos(self) -> tuple[TensorInfo, ...]:
        """Those of these tensors."""
        return tuple(info for info in self.whole.infos if info.name in self._kept)

    @cached_property
    def aliases(self) -> dict[str, str]:
        """Ties among them."""
        ties = self.whole.aliases.items()
        return {name: of for name, of in ties if name in self._kept and of in self._kept}

    def reader(self, name: str) -> Read | None:
        """As of the whole."""
        return file_reader(self.whole, name)

    @cached_property
    def _kept(self) -> frozenset[str]:
        return frozenset(self.names)

    @property
    def nbytes(self) -> int:
        """Bytes of these tensors, tied ones once."""
        return sum(info.nbytes for info in self.infos if info.name not in self.aliases)
