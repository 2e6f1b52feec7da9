"""What a network gives: logits, whose softmax counts, or features, which count themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

from taut.errors import ArgumentError
from taut.networks.calls import run
from taut.networks.cuts import first_sample
from taut.networks.other_outputs import kept_outputs
from taut.networks.output_vectors import Kind
from taut.networks.outputs import KeptOutput, find_target, float_parts, told_output

if TYPE_CHECKING:
    import torch

    Maker: TypeAlias = Callable[[torch.Tensor], str | None]

Seen = TypeVar("Seen")


def output_kind(module: torch.nn.Module, batch: object) -> Kind:
    """Tell by running one batch, as `collect` does with `output="auto"`.

    "last" is of images whose logits a linear layer gives: their classes are on the last axis.

    >>> import torch
    >>> net = torch.nn.Sequential()
    >>> net.add_module("fc", torch.nn.Linear(4, 3))
    >>> output_kind(net, torch.ones(2, 4)), output_kind(net.fc, torch.ones(2, 4))
    ('logits', 'features')
    """
    told = _says(module)
    if told is not None:
        return told
    return _of_some(module, batch, lambda output, maker: _kind(find_target(output, "auto", maker)))


def class_axes(
    module: torch.nn.Module, batch: object, where: str, named: Mapping[str, object] | None = None
) -> dict[str, int]:
    """The axis of classes of every part of the output that holds logits, by its place.

    Places are those of `float_parts`. One batch is run, with keywords `named` beside it; `where`
    names it, should the model reject it.

    >>> import torch
    >>> net = torch.nn.Sequential()
    >>> net.add_module("fc", torch.nn.Linear(4, 3))
    >>> class_axes(net, torch.ones(2, 4), "batch 1"), class_axes(net.fc, torch.ones(2, 4), "")
    ({'': -1}, {})
    """
    output, maker = _made_by(module, batch, where, named)
    told, found = _says(module), {}
    for place, tensor in float_parts(output).items():
        said = place.rpartition(".")[2] == "logits" or told == "logits"
        target = told_output(tensor, maker, named=said)
        if target.logits and told != "features":
            found[place] = target.axis
    return found


def other_kinds(module: torch.nn.Module, batch: object) -> dict[str, Kind]:
    """What the outputs beside the main one hold, by their places: those that curvature counts.

    >>> import torch
    >>> class Two(torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.fc, self.box = torch.nn.Linear(4, 3), torch.nn.Linear(4, 2)
    ...     def forward(self, x):
    ...         return self.fc(x), self.box(x)
    >>> other_kinds(Two(), torch.ones(2, 4))
    {'1': 'features'}
    """
    import torch
    from torch.autograd.graph import saved_tensors_hooks

    if _says(module) is not None:
        return {}

    def kinds(output: object, maker: Maker) -> dict[str, Kind]:
        return {one.place: _kind(one) for one in kept_outputs(output, "auto", maker)[1:]}

    # How outputs are computed is looked at, and nothing differentiated: no value is kept for it.
    with torch.enable_grad(), saved_tensors_hooks(_nothing_of, torch.Tensor):
        return _of_some(module, batch, kinds, gradients=True)


def _nothing_of(tensor: torch.Tensor) -> torch.Tensor:
    """What is kept in the place of a tensor that gradients would want."""
    return tensor.new_empty(0)


def _of_some(
    module: torch.nn.Module,
    batch: object,
    look: Callable[[object, Maker], Seen],
    *,
    gradients: bool = False,
) -> Seen:
    """What `look` sees in the output of the first sample, or of the batch where that is not taken.

    The logits of all of a language model's batch, with all that led to them, take gigabytes.
    """
    with suppress(ArgumentError):
        some = first_sample(batch)
        return look(*_made_by(module, some, "calibration batch 1", gradients=gradients))
    return look(*_made_by(module, batch, "calibration batch 1", gradients=gradients))


def _kind(found: KeptOutput) -> Kind:
    if not found.logits:
        return "features"
    return "last" if found.last and found.tensor.ndim > 3 else "logits"


def _says(module: torch.nn.Module) -> Literal["logits", "features"] | None:
    """What a network says itself that has no layers to look at."""
    told = getattr(module, "output_kind", None)
    if told in ("logits", "features"):
        return "logits" if told == "logits" else "features"
    return None


def _made_by(
    module: torch.nn.Module,
    batch: object,
    where: str,
    named: Mapping[str, object] | None = None,
    *,
    gradients: bool = False,
) -> tuple[object, Maker]:
    """The output of a batch, and which linear layer made a tensor of it."""
    import torch

    made: list[tuple[object, str]] = []  # the tensors are kept, so that no other takes their id
    linear = [(n, m) for n, m in module.named_modules() if isinstance(m, torch.nn.Linear)]
    handles = [
        layer.register_forward_hook(lambda _, __, out, name=name: made.append((out, name)))
        for name, layer in linear
    ]
    try:
        with torch.set_grad_enabled(gradients):
            output = run(module, batch, where, named)
    finally:
        for handle in handles:
            handle.remove()
    names = {id(out): name for out, name in made}

    def maker(tensor: torch.Tensor) -> str | None:
        return names.get(id(tensor)) if made else None

    return output, maker
