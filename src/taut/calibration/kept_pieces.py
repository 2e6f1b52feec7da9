"""Arrays in a journal, mapped from there: kept once, however many pieces speak of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from taut.analysis.curvature_arrays import text_array, texts_of
from taut.journal.journal import Journal

_ELSEWHERE: Final = "elsewhere"  # three texts for each array that another name already has


class KeptPieces:
    """Puts arrays in a journal and gives them back as maps of its files, which take no memory.

    An array that was put before, or was given back, is not written again: the piece says where it
    lies.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._maps: dict[str, dict[str, np.ndarray]] = {}
        self._places: dict[int, tuple[str, str]] = {}  # of arrays of `_maps`, by their id

    def get(self, key: str) -> dict[str, np.ndarray] | None:
        """The arrays of a piece, read-only; None if it, or what it speaks of, is not there."""
        own = self._mapped(key)
        if own is None:
            return None
        found = {name: array for name, array in own.items() if name != _ELSEWHERE}
        told = [text or "" for text in texts_of(own[_ELSEWHERE])]
        for name, other, inner in zip(told[::3], told[1::3], told[2::3], strict=True):
            source = self._mapped(other)
            if source is None or inner not in source:
                return None
            found[name] = source[inner]
        return found

    def put(self, key: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Keep a piece, for good; gives its arrays as they lie in the journal."""
        stored: dict[str, np.ndarray] = {}
        names: dict[int, str] = {}
        elsewhere: list[str | None] = []
        for name, array in arrays.items():
            place = self._places.get(id(array))
            if place is None and id(array) in names:
                place = key, names[id(array)]
            if place is None:
                stored[name] = array
                names[id(array)] = name
            else:
                elsewhere += [name, *place]
        wide = sorted(stored, key=lambda name: -stored[name].itemsize)  # so that all lie aligned
        self._journal.put(
            key, **{name: stored[name] for name in wide}, **{_ELSEWHERE: text_array(elsewhere)}
        )
        self._let_go(key)
        found = self.get(key)
        assert found is not None  # it was written
        return {name: found[name] for name in arrays}

    def forget(self, prefix: str) -> None:
        """Remove pieces, of which no other speaks."""
        self._journal.forget(prefix)
        for key in [key for key in self._maps if key.startswith(prefix)]:
            self._let_go(key)

    def _mapped(self, key: str) -> dict[str, np.ndarray] | None:
        if key not in self._maps:
            arrays = self._journal.mapped(key)
            if arrays is None:
                return None
            self._maps[key] = arrays
            self._places |= {id(array): (key, name) for name, array in arrays.items()}
        return self._maps[key]

    def _let_go(self, key: str) -> None:
        for array in self._maps.pop(key, {}).values():
            self._places.pop(id(array), None)
