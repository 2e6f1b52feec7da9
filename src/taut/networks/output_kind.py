"""What a network's output is: logits, whose softmax counts, or features, which count themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from taut.networks.calls import run
from taut.networks.outputs import find_target

if TYPE_CHECKING:
    import torch


def output_kind(module: torch.nn.Module, batch: object) -> Literal["logits", "features"]:
    """Tell by running one batch, as `collect` does with `output="auto"`.

    >>> import torch
    >>> net = torch.nn.Sequential()
    >>> net.add_module("fc", torch.nn.Linear(4, 3))
    >>> output_kind(net, torch.ones(2, 4)), output_kind(net.fc, torch.ones(2, 4))
    ('logits', 'features')
    """
    import torch

    told = getattr(module, "output_kind", None)  # a network without layers to look at
    if told in ("logits", "features"):
        return "logits" if told == "logits" else "features"
    made: list[tuple[object, str]] = []  # the tensors are kept, so that no other takes their id
    linear = [(n, m) for n, m in module.named_modules() if isinstance(m, torch.nn.Linear)]
    handles = [
        layer.register_forward_hook(lambda _, __, out, name=name: made.append((out, name)))
        for name, layer in linear
    ]
    try:
        with torch.no_grad():
            output = run(module, batch, "calibration batch 1")
    finally:
        for handle in handles:
            handle.remove()
    names = {id(out): name for out, name in made}
    target = find_target(output, "auto", lambda tensor: names.get(id(tensor)))
    return "logits" if target.logits else "features"
