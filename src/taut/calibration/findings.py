"""What a calibrated run has found so far: kept in a journal, so that a crash costs one piece.

Every piece is named by all that it depends on beside the journal's identity. The search for the
dial is run again from its beginning: it asks for the same pieces in the same order, and finds those
that are there. Of the rounded matrices only those of the last dial are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from inspect import unwrap
from types import CodeType

import numpy as np

from taut.analysis import GRADIENTS, Curvature, Pieces
from taut.analysis.curvature_arrays import (
    curvature_arrays,
    curvature_from,
    of_number,
    text_array,
    texts_of,
)
from taut.calibration.kept_pieces import KeptPieces
from taut.io.digest import Digest
from taut.journal.journal import Journal
from taut.machine.closing import Closing
from taut.transform import Rounded

_BASIS = "basis."  # before the names of its arrays


class Findings(Closing):
    """The pieces of one run; without a journal nothing is kept, and all is made.

    As a context manager it closes the journal, which stays on disk until `discard`.
    """

    def __init__(self, journal: Journal | None = None) -> None:
        self._journal = journal

    @property
    def resumed(self) -> bool:
        """Whether pieces of an earlier run were taken over."""
        return self._journal is not None and self._journal.resumed

    def curvatures(
        self, names: Collection[str], make: Callable[[Pieces | None], Mapping[str, Curvature]]
    ) -> dict[str, Curvature]:
        """The curvature of these tensors, from the journal or made in one pass.

        `make` is given the journal, in which it keeps what it has finished, and whose maps the
        curvature then is.
        """
        if self._journal is None:
            return dict(make(None))
        pieces = KeptPieces(self._journal)
        asked = text_array(sorted(names))
        kept = pieces.get("curvature")
        if kept is None or not np.array_equal(kept["asked"], asked):
            found = dict(make(pieces))
            arrays = {
                f"{number}/{what}": array
                for number, one in enumerate(found.values())
                for what, array in curvature_arrays(one).items()
            }
            named = {"asked": asked, "names": text_array([*found])}
            kept = pieces.put("curvature", {**arrays, **named})
            pieces.forget(GRADIENTS)
        return {
            name or "": curvature_from(of_number(number, kept))
            for number, name in enumerate(texts_of(kept["names"]))
        }

    def begin(self, turns: Collection[str]) -> None:
        """Forget the matrices of other turns of the dial."""
        if self._journal is not None:
            kept = {key.split("/")[1] for key in self._journal.done if key.startswith("matrix/")}
            for other in sorted(kept - set(turns)):
                self._journal.forget(f"matrix/{other}")

    def matrix(self, name: str, turn: str, make: Callable[[], Rounded]) -> Rounded:
        """A matrix as rounded at a turn of the dial; from any thread."""
        if self._journal is None:
            return make()
        key = f"matrix/{turn}/{name}"
        piece = self._journal.get(key)
        if piece is not None:
            return rounded_from(piece)
        rounded = make()
        self._journal.put(key, **rounded_arrays(rounded))
        return rounded

    def matrices(self, turn: str, make: Callable[[], dict[str, Rounded]]) -> dict[str, Rounded]:
        """Matrices that are rounded together: all from the journal, or all made."""
        if self._journal is None:
            return make()
        if (kept := _rounded_together(self._journal, turn)) is not None:
            return kept
        found = make()
        for name, rounded in found.items():
            self._journal.put(f"matrix/{turn}/{name}", **rounded_arrays(rounded))
        self._journal.put(f"matrix/{turn}", names=text_array([*found]))
        return found

    def block(self, key: str, make: Callable[[], dict[str, Rounded]]) -> dict[str, Rounded]:
        """The matrices of a block, which are rounded together: one piece."""
        if self._journal is None:
            return make()
        piece = self._journal.get(f"block/{key}")
        if piece is not None:
            return _of_block(piece)
        found = make()
        arrays = {
            f"{number}/{what}": array
            for number, rounded in enumerate(found.values())
            for what, array in rounded_arrays(rounded).items()
        }
        self._journal.put(f"block/{key}", names=text_array([*found]), **arrays)
        return found

    def number(self, key: str, make: Callable[[], float]) -> float:
        """A score or a size."""
        if self._journal is None:
            return make()
        piece = self._journal.get(f"number/{key}")
        if piece is not None:
            return float(piece["value"])
        value = make()
        self._journal.put(f"number/{key}", value=np.array(value, np.float64))
        return value

    def vectors(
        self, dial: float, make: Callable[[], tuple[Mapping[str, np.ndarray], str]]
    ) -> tuple[Mapping[str, np.ndarray], str]:
        """What finishing made of the vectors beside the matrices of a dial, and its note."""
        if self._journal is None:
            return make()
        key = f"finish/{dial.hex()}"
        piece = self._journal.get(key)
        if piece is not None:
            note = texts_of(piece.pop("note"))[0] or ""
            return {name.removeprefix("value/"): array for name, array in piece.items()}, note
        values, note = make()
        self._journal.forget("finish/")
        arrays = {f"value/{name}": array for name, array in values.items()}
        self._journal.put(key, note=text_array([note]), **arrays)
        return values, note

    def close(self) -> None:
        """Let go of the journal; the pieces stay."""
        if self._journal is not None:
            self._journal.close()

    def discard(self) -> None:
        """Remove the journal: its work is done."""
        if self._journal is not None:
            self._journal.discard()


def _rounded_together(journal: Journal, turn: str) -> dict[str, Rounded] | None:
    """The matrices of a turn that were rounded together; None unless all of them are kept."""
    listed = journal.get(f"matrix/{turn}")
    if listed is None:
        return None
    names = [name or "" for name in texts_of(listed["names"])]
    kept = {name: journal.get(f"matrix/{turn}/{name}") for name in names}
    found = {name: rounded_from(piece) for name, piece in kept.items() if piece is not None}
    return found if len(found) == len(names) else None


def _of_block(piece: Mapping[str, np.ndarray]) -> dict[str, Rounded]:
    """The matrices of a block's piece."""
    found = {}
    for number, name in enumerate(texts_of(piece["names"])):
        found[name or ""] = rounded_from(of_number(number, piece))
    return found


def rounded_arrays(rounded: Rounded) -> dict[str, np.ndarray]:
    """A rounded matrix as few bytes: what it decodes to is not among them."""
    arrays = {
        "indices": rounded.indices,
        "scalars": np.array(
            [rounded.step, *rounded.offsets, rounded.fraction, rounded.trellis], np.float64
        ),
        "rows": rounded.row_exponents,
        "columns": rounded.column_exponents,
    }
    if rounded.basis is not None:
        basis = rounded_arrays(rounded.basis)
        arrays |= {f"{_BASIS}{name}": array for name, array in basis.items()}
    return {name: array for name, array in arrays.items() if array is not None}


def rounded_from(arrays: Mapping[str, np.ndarray]) -> Rounded:
    """The matrix of `rounded_arrays`; decodes to the very values that rounding gave."""
    step, one, two, more, fraction, trellis = arrays["scalars"].tolist()
    rows, columns = arrays.get("rows"), arrays.get("columns")
    found = Rounded(
        arrays["indices"], step, rows, columns, bool(trellis), (one, two, more), int(fraction)
    )
    basis = {n.removeprefix(_BASIS): a for n, a in arrays.items() if n.startswith(_BASIS)}
    return replace(found, basis=rounded_from(basis)) if basis else found


def code_identity(function: Callable[..., object] | None) -> str:
    """A text that is another for another function, or another code of it; "none" for None.

    What it calls does not count, except that a function of `file.py:name` has the file's content
    in its module's name.

    >>> code_identity(lambda: 1) == code_identity(lambda: 2)
    False
    """
    if function is None:
        return "none"
    digest = Digest()
    named = function if hasattr(function, "__qualname__") else type(function)
    digest.add((named.__module__, named.__qualname__), "function")
    code = getattr(unwrap(function), "__code__", None)
    if isinstance(code, CodeType):
        _add_code(digest, code)
    return digest.text()


def _add_code(digest: Digest, code: CodeType) -> None:
    digest.add((code.co_code, code.co_names), "function")
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            _add_code(digest, constant)
        elif isinstance(constant, (int, float, str, bytes)) and constant == constant:
            digest.add(constant, "function")


def dial_text(dial: float | None) -> str:
    """A dial in a key; that of no turn is "none".

    >>> dial_text(0.5), dial_text(None)
    ('0x1.0000000000000p-1', 'none')
    """
    return "none" if dial is None else dial.hex()
