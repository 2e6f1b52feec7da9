"""Which sizes training can reach, and what keeps a file above them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from taut.coding import Effort
from taut.encoding.tensor import encode_tensor
from taut.scheme import Scheme
from taut.training.written import Final as FinalState

_NAMED: Final = 4  # tensors that a message names


def unreachable(
    state: FinalState,
    nbytes: int,
    drawn: Mapping[str, NDArray[np.bool_]],
    size: Callable[[FinalState], int],
    effort: Effort,
) -> str | None:
    """Why no training makes a file of `nbytes`; None if it may.

    `drawn` are the parts (equal runs) of tensors that the price of bits draws to zero; the least
    file has them empty. `size` measures a state.
    """
    least = state.emptied(drawn)
    floor = size(least)
    if floor <= nbytes:
        return None
    kept = _kept(least, drawn, effort)
    named = [f'"{name}" {taken:,} ({why})' for name, taken, why in kept[:_NAMED]]
    more = f" and {len(kept) - _NAMED} more" if len(kept) > _NAMED else ""
    if not named:
        return f"training cannot get below {floor:,} bytes, which its headers take; ask for more"
    return (
        f"training cannot get below {floor:,} bytes, which is what all takes that the price of "
        f"bits does not reach: {', '.join(named)}{more}, and its headers; give these a rule of "
        "their own, or ask for more"
    )


def _kept(
    state: FinalState, drawn: Mapping[str, NDArray[np.bool_]], effort: Effort
) -> list[tuple[str, int, str]]:
    """Name, bytes and reason of the tensors that stay as large as they are, the largest first."""
    found = []
    for info in state.source.infos:
        parts = drawn.get(info.name)
        if info.name in state.source.aliases or (parts is not None and parts.all()):
            continue
        scheme, values = state.schemes[info.name], state.source.load(info.name)
        if values.size and (values == values.flat[0]).all():  # a constant takes nothing
            continue
        coded = encode_tensor(info, values, scheme, effort=effort, quantize=state.written)
        why = _reason(info.dtype, scheme, parts)
        found.append((info.name, int(coded.data.nbytes), why))
    return sorted((one for one in found if one[1]), key=lambda one: -one[1])


def _reason(dtype: str, scheme: Scheme, drawn: NDArray[np.bool_] | None) -> str:
    """Why a tensor stays as large as it is."""
    if drawn is not None:
        some = f" to {(~drawn).sum()} of {len(drawn)} parts" if drawn.any() else ""
        return f"no gradient came{some}"
    if scheme.kind == "rd":
        return "not trained, rounded finely"
    return f"kept as {dtype}" if scheme.kind in ("lossless", "keep") else str(scheme)
