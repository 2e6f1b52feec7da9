"""Scalars whose gradients have the loss's curvature as their second moment.

With J the Jacobian of the output z by a layer's output, the Gauss-Newton matrix is J^T L J, L the
Hessian of the loss by z; J^T v has it as second moment for any v with E[v v^T] = L (Martens 2014).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
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
class Target:
    """The tensor whose change is the loss, and whether it holds logits."""

    tensor: torch.Tensor
    logits: bool


def find_target(output: object, kind: str, maker: Maker) -> Target:
    """The part of a model's output to be kept; `kind` is one of OUTPUTS.

    `maker` gives the weight's name, or the names of a tied one, for a tensor that is a linear
    layer's very output.

    Raises:
        ArgumentError: the output holds no tensor of floats.
    """
    logits = _part(output, "logits")
    if kind == "auto" and _is_float(logits):
        return Target(logits, _classes(logits) > 1)
    names = ("logits",) if kind == "logits" else _FEATURES
    tensor = next((t for t in (_part(output, name) for name in names) if _is_float(t)), None)
    tensor = _first(output) if tensor is None else tensor
    if tensor is None:
        raise ArgumentError(
            f"the model's output, a {type(output).__name__}, holds no tensor of floats; "
            "give loss(output, batch)"
        )
    if kind == "auto":
        made = maker(tensor) or ()
        called = (made,) if isinstance(made, str) else made
        head = any(is_head(name) for name in called)
        return Target(tensor, head and _classes(tensor) > 1)
    return Target(tensor, kind == "logits")


def is_head(name: str) -> bool:
    """Whether a weight or bias is called as that of a layer that gives logits.

    >>> is_head("classifier.weight"), is_head("fc.bias"), is_head("pooler.dense.weight")
    (True, True, False)
    """
    return _HEADS.match(name.removesuffix(".weight").removesuffix(".bias")) is not None


def check(target: Target, where: str, broken: Callable[[], str]) -> None:
    """Refuse an output without a gradient, or with NaN; `broken` says where these came from."""
    import torch

    if not target.tensor.requires_grad:
        raise ArgumentError(
            f"{where}: the model's output has no gradient; its forward must not run under "
            "torch.no_grad() or detach what it gives"
        )
    if not torch.isfinite(target.tensor).all():
        raise ArgumentError(f"{where}: the model's output has NaN or infinite values{broken()}")


def probes(
    target: Target, batch: object, generator: torch.Generator, passes: int
) -> Iterator[torch.Tensor]:
    """A random scalar for each backward pass.

    Features: L = I, so v is standard normal. Logits: L = diag(p) - p p^T at each position, p their
    softmax: the Fisher of labels drawn from the model's own predictions. With s = sqrt(p) and r
    standard normal, v = s r - p (s . r) has it too, with less noise than drawn labels.
    """
    import torch

    z = target.tensor
    mask = _mask(batch, z)
    for _ in range(passes):
        v = torch.randn(z.shape, generator=generator, dtype=torch.float32).to(z.device, z.dtype)
        if target.logits:
            axis = _class_axis(z)
            p = z.detach().softmax(axis)
            s = p.sqrt()
            v = s * v - p * (s * v).sum(axis, keepdim=True)
        yield (z * (v if mask is None else v * mask)).sum()


def user_loss(
    loss: Loss, output: object, batch: object, generator: torch.Generator, where: str
) -> torch.Tensor:
    """The caller's loss of a batch, summed.

    One value for each sample gets a random sign, which changes no second moment and keeps samples
    apart where gradients are summed over a batch; a scalar cannot be told apart.

    Raises:
        ArgumentError: it raised, or gave something without a gradient, or NaN.
    """
    import torch

    try:
        value = loss(output, batch)
    except Exception as error:  # the caller's code may raise anything
        raise ArgumentError(f"{where}: loss raised {type(error).__name__}: {error}") from error
    if not _is_float(value) or not value.requires_grad:
        raise ArgumentError(f"{where}: loss must give a tensor that depends on the output")
    if not torch.isfinite(value).all():
        raise ArgumentError(f"{where}: the loss is NaN or infinite")
    if value.ndim == 0:
        return value
    signs = torch.randint(0, 2, (len(value),), generator=generator) * 2.0 - 1
    signs = signs.to(value.device, value.dtype)
    return (value.reshape(len(value), -1).sum(1) * signs).sum()


def _part(output: object, name: str) -> object:
    if isinstance(output, Mapping):
        return output.get(name)
    return getattr(output, name, None)


def _first(output: object) -> torch.Tensor | None:
    """The first tensor of floats in an output."""
    if _is_float(output):
        return output
    if is_dataclass(output) and not isinstance(output, (Mapping, type)):
        output = {one.name: getattr(output, one.name, None) for one in fields(output)}
    parts = output.values() if isinstance(output, Mapping) else output
    if isinstance(output, (Mapping, tuple, list)):
        for part in parts:  # type: ignore[attr-defined]
            if (found := _first(part)) is not None:
                return found
    return None


def _is_float(value: object) -> TypeGuard[torch.Tensor]:
    import torch

    return isinstance(value, torch.Tensor) and value.is_floating_point()


def _class_axis(logits: torch.Tensor) -> int:
    """Images of logits have their classes first, as cross_entropy has it; all others last."""
    return 1 if logits.ndim >= 4 else -1


def _classes(logits: torch.Tensor) -> int:
    return int(logits.shape[_class_axis(logits)]) if logits.ndim else 1


def _mask(batch: object, z: torch.Tensor) -> torch.Tensor | None:
    """The attention mask, where the output has a vector for each of its tokens."""
    import torch

    mask = batch.get("attention_mask") if isinstance(batch, Mapping) else None
    if not isinstance(mask, torch.Tensor) or z.ndim != 3 or mask.shape != z.shape[:2]:
        return None
    return (mask != 0).to(z.device, z.dtype)[..., None]
