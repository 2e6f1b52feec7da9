"""Decodes one tensor to its grid's integers, which its values can be made of again and again."""

from __future__ import annotations

from taut.coding import ByteIntegers
from taut.container.coded_arrays import ChunkedArray
from taut.container.fetch import Fetcher

_SPARE = 64  # bytes behind the integers
_SCALE = 4  # bytes of a row's or column's


class IntegerReader:
    """Gives the integers of one coded tensor, a byte each; `nbytes` is about what they take."""

    def __init__(self, fetcher: Fetcher, array: ChunkedArray) -> None:
        self._fetcher, self._array = fetcher, array
        found = array.found
        count = found.nbytes // found.width
        self.nbytes = count + _SPARE + _SCALE * (found.rows + -(-count // max(1, found.rows)))

    def hold(self) -> ByteIntegers | None:
        """Decode them, a chunk after the other; None where many are wider than a byte.

        Raises:
            VerifyError, FormatError: the tensor is damaged.
        """
        return self._fetcher.hold(self._array)


def integer_reader(fetcher: Fetcher, array: ChunkedArray | None) -> IntegerReader | None:
    """A reader of an array's integers; None where it is not made of any."""
    if array is None or not array.found.integers:
        return None
    return IntegerReader(fetcher, array)
