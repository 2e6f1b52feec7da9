"""What others published on the same networks and data: numbers from their papers, not run here.

Errors and drops of one network, baseline and data are not those of another: each row says its own
error before. Sizes are whole files or messages in bytes where `counts` is "bytes"; "parameters"
counts what is not zero and leaves positions and widths out, which flatters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Published:
    """A published point: errors in percent before and after, ratio to float32."""

    method: str
    source: str
    before: float | None
    after: float
    ratio: float
    nbytes: int | None = None
    counts: str = "bytes"


_DEEP: Final = "Han et al., 2016, table 1"
_EPR: Final = "Oktay et al., 2020"
_MIRACLE: Final = "Havasi et al., 2019, table 1"
_VARIATIONAL: Final = "Molchanov et al., 2017"
_HEIRS: Final = "Havasi et al., 2019, quoting"

# By the titles of `rows.TABLES`.
FIELD: Final[Mapping[str, tuple[Published, ...]]] = {
    "LeNet-300-100, MNIST": (
        Published("Deep Compression", _DEEP, 1.64, 1.58, 40, 27_000),
        Published("sparse variational dropout", _VARIATIONAL, None, 1.92, 68, counts="parameters"),
        Published("entropy-penalised", _EPR, 1.6, 1.9, 124, 8_560),
    ),
    "LeNet-5 (Caffe), MNIST": (
        Published("Deep Compression", _DEEP, 0.80, 0.74, 39, 44_000),
        Published("sparse variational dropout", _VARIATIONAL, 0.8, 0.75, 280, counts="parameters"),
        Published("Weightless", _HEIRS, None, 1.0, 382, 4_520),
        Published("MIRACLE, low error", _MIRACLE, 0.7, 0.69, 555, 3_030),
        Published("entropy-penalised", _EPR, 0.7, 1.0, 606, 2_840),
        Published("Bayesian compression", _HEIRS, None, 1.0, 771, 2_300),
        Published("MIRACLE, high ratio", _MIRACLE, 0.7, 0.96, 1110, 1_520),
    ),
}
