"""What results look like in a prompt, three lines, and in a notebook, a picture.

Surprise: results lie far below `reporting`, which knows them all and draws them. So the two modules
that do are named here, and imported when somebody looks; nothing else reaches up like this.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final, cast

_WORDS: Final = "taut.reporting.in_words"
_CELL: Final = "taut.reporting.in_cell"


class Pictured:
    """A result that shows itself in three lines, and as a picture where a notebook asks."""

    def __repr__(self) -> str:
        """In three lines at most, as people read numbers."""
        return cast(str, import_module(_WORDS).words_of(self))

    def _repr_html_(self) -> str | None:
        """As a part of a page, which needs nothing else; None where words do."""
        return cast("str | None", import_module(_CELL).cell_of(self))
