"""What a network takes as tokens: how many there are, and whether it looks back alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from taut.errors import ArgumentError
from taut.networks.calls import applied
from taut.networks.cuts import tensors

if TYPE_CHECKING:
    import torch

_TRIED: Final = 8  # tokens that the network is tried on
_NEAR: Final = 1e-4  # of the largest output: rounding in sums of another order


def check_vocabulary(tokens: np.ndarray, size: int | None, where: str) -> None:
    """Refuse tokens that the network has no embedding for; raises ArgumentError."""
    if size is None or not tokens.size:
        return
    bad = np.argwhere((tokens < 0) | (tokens >= size))
    if len(bad):
        place = ", ".join(str(int(i)) for i in bad[0])
        raise ArgumentError(
            f"{where}: token {int(tokens[tuple(bad[0])])} at ({place}) is not of the network's "
            f"vocabulary, which has 0 to {size - 1}"
        )


def vocabulary_of(module: torch.nn.Module) -> int | None:
    """How many tokens the network has an embedding for; None if it does not say."""
    embeddings: Any = getattr(module, "get_input_embeddings", lambda: None)
    try:
        size = getattr(embeddings(), "num_embeddings", None)
    except (NotImplementedError, AttributeError):
        return None
    return size if isinstance(size, int) else None


def looks_back(module: torch.nn.Module, vocabulary: int | None) -> bool:
    """Whether an output of each token hangs on those before it alone: found by changing the last.

    False too of a network that gives nothing for each token, or does not take tokens alone.
    """
    import torch

    if vocabulary is None or vocabulary < 2:
        return False
    tokens = torch.arange(_TRIED)[None] % vocabulary
    other = tokens.clone()
    other[0, -1] = (int(other[0, -1]) + 1) % vocabulary
    outputs = []
    with torch.no_grad():
        for one in (tokens, other):
            try:
                found = tensors(applied(module, {"input_ids": one}))
            except Exception:  # whatever a network raises that wants more than tokens
                return False
            if not found or found[0].ndim != 3 or found[0].shape[:2] != (1, _TRIED):
                return False
            outputs.append(found[0].float())
    first, second = outputs
    near = _NEAR * float(first.abs().max())
    return float((first - second)[:, :-1].abs().max()) <= near
