"""How much is tried: a good sample in `make test`, all of it with `SLOW=1` and in CI."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

THOROUGH = bool(os.environ.get("TAUT_SLOW") or os.environ.get("CI"))
HOW = "make test SLOW=1 runs it"


def examples(count: int) -> int:
    """How many random cases to try of `count`: a fifth, but eight at least, unless thorough."""
    return count if THOROUGH else min(count, max(8, count // 5))


def sample(cases: Sequence[object], reason: str, *, keep: int = 1) -> list[object]:
    """Parameters of a test, of which all but the first `keep` are slow, for a reason."""
    return [
        case if number < keep else pytest.param(*_values(case), marks=pytest.mark.slow(reason))
        for number, case in enumerate(cases)
    ]


def _values(case: object) -> tuple[object, ...]:
    return case if isinstance(case, tuple) else (case,)
