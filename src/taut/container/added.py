"""What is said of a tensor that is added to a file, beside its name, shape and scheme."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class BaseTensor:
    """A tensor of a base, as a record asks for it: its checksum, its name where it is another.

    `values` are None of a large one, which is not held.
    """

    values: np.ndarray | None
    sum: str
    name: str = ""


@dataclass(frozen=True)
class PieceFacts:
    """What a tensor that was coded in pieces decodes to: as `add_coded` has it."""

    sum: str
    rel_mse: float = 0.0
    meant: str = ""
    stored: str = ""
