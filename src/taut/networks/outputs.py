"""Which part of a network's output counts, and how its axes are to be read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Final, TypeAlias, TypeGuard

from taut.errors import ArgumentError

if TYPE_CHECKING:
    import torch

Loss: TypeAlias = "Callable[[object, object], torch.Tensor]"
Maker: TypeAlias = "Callable[[torch.Tensor], str | tuple[str, ...] | None]"

OUTPUTS: Final = ("auto", "logits", "features")
_HEADS: Final = re.compile(
    r"(^|.*[._])(fc\d*|heads?|classifier|cls|score|lm_head|output|logits|linear|decoder|proj)$"
)
_FEATURES: Final = (
    "sentence_embedding", "text_embeds", "image_embeds", "logits", "last_hidden_state"
)  # fmt: skip


@dataclass(frozen=True)
class KeptOutput:
    """The tensor whose change is the loss, and whether it holds logits."""

    tensor: torch.Tensor
    logits: bool


def find_target(output: object, kind: str, maker: Maker) -> KeptOutput:
    """The part of a model's output to be kept; `kind` is one of OUTPUTS.

    `maker` gives the weight's name, or the names of a tied one, for a tensor that is a linear
    layer's very output.

    Raises:
        ArgumentError: the output holds no tensor of floats.
    """
    if kind != "auto":
        names = ("logits",) if kind == "logits" else _FEATURES
        return KeptOutput(_named_or_first(output, names), kind == "logits")
    logits = _part(output, "logits")
    if is_float(logits):
        return KeptOutput(logits, _classes(logits) > 1)
    tensor = _named_or_first(output, _FEATURES)
    made = maker(tensor) or ()
    head = any(is_head(name) for name in ((made,) if isinstance(made, str) else made))
    return KeptOutput(tensor, head and _classes(tensor) > 1)


def _named_or_first(output: object, names: tuple[str, ...]) -> torch.Tensor:
    """The first of the named parts that is a tensor of floats, else the first such tensor.

    Raises:
        ArgumentError: there is none.
    """
    parts = (_part(output, name) for name in names)
    tensor = next((part for part in parts if is_float(part)), None)
    tensor = _first(output) if tensor is None else tensor
    if tensor is None:
        raise ArgumentError(
            f"the model's output, a {type(output).__name__}, holds no tensor of floats; "
            "give loss(output, batch)"
        )
    return tensor


def is_head(name: str) -> bool:
    """Whether a weight or bias is called as that of a layer that gives logits.

    >>> is_head("classifier.weight"), is_head("fc.bias"), is_head("pooler.dense.weight")
    (True, True, False)
    """
    return _HEADS.match(name.removesuffix(".weight").removesuffix(".bias")) is not None


def _part(output: object, name: str) -> object:
    if isinstance(output, Mapping):
        return output.get(name)
    return getattr(output, name, None)


def _first(output: object) -> torch.Tensor | None:
    """The first tensor of floats in an output."""
    if is_float(output):
        return output
    if is_dataclass(output) and not isinstance(output, (Mapping, type)):
        output = {one.name: getattr(output, one.name, None) for one in fields(output)}
    parts = output.values() if isinstance(output, Mapping) else output
    if isinstance(output, (Mapping, tuple, list)):
        for part in parts:  # type: ignore[attr-defined]
            if (found := _first(part)) is not None:
                return found
    return None


def is_float(value: object) -> TypeGuard[torch.Tensor]:
    """Whether a value is a tensor of floats."""
    import torch

    return isinstance(value, torch.Tensor) and value.is_floating_point()


def class_axis(logits: torch.Tensor) -> int:
    """Images of logits have their classes first, as cross_entropy has it; all others last."""
    return 1 if logits.ndim >= 4 else -1


def _classes(logits: torch.Tensor) -> int:
    return int(logits.shape[class_axis(logits)]) if logits.ndim else 1


def token_mask(batch: object, z: torch.Tensor) -> torch.Tensor | None:
    """The attention mask, where the output has a vector for each of its tokens."""
    import torch

    mask = batch.get("attention_mask") if isinstance(batch, Mapping) else None
    if not isinstance(mask, torch.Tensor) or z.ndim != 3 or mask.shape != z.shape[:2]:
        return None
    return (mask != 0).to(z.device, z.dtype)[..., None]
