"""How long a network may be tuned, by the work that it takes, never by the clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from taut.networks.calls import run

if TYPE_CHECKING:
    import torch

_WORK: Final = 1e12  # floating-point operations forward; under a minute on two cores
_MORE: Final = 5.0  # times as much at most, for a model that would else have too few steps
_STEPS: Final = (50, 1000)
_STEPPED: Final = 4  # how often operations of recurrent layers count


def affordable_steps(student: torch.nn.Module, batch: object, *, forwards: int = 1) -> int:
    """Steps for batches like this one, where each takes so many `forwards`.

    Block by block a forward is run again for its gradients, so that there are two.
    """
    return _affordable(forwards * work(student, batch))


def _affordable(operations: float) -> int:
    """Steps for a model that takes so many operations forward: fewer for a larger one.

    >>> [_affordable(operations) for operations in (1e6, 4e9, 1e11, 1e12)]
    [1000, 250, 50, 5]
    """
    fewest, most = _STEPS
    affordable = _WORK / operations
    return max(1, int(min(most, max(affordable, min(fewest, _MORE * affordable)))))


def work(module: torch.nn.Module, batch: object) -> float:
    """Return the floating-point operations of a forward pass, the same on every machine.

    Those of recurrent layers count several times: they go step by step, which takes longer.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    counter, steps = FlopCounterMode(display=False), 0.0

    def stepped(layer: torch.nn.Module, given: tuple[object, ...], _: object) -> None:
        nonlocal steps
        first = given[0] if given else None
        if isinstance(first, torch.nn.utils.rnn.PackedSequence):
            first = first.data
        if isinstance(first, torch.Tensor):
            positions = first.numel() / max(1, first.shape[-1])
            steps += _STEPPED * 2 * positions * sum(one.numel() for one in layer.parameters())

    layers = [one for one in module.modules() if isinstance(one, torch.nn.RNNBase)]
    handles = [one.register_forward_hook(stepped) for one in layers]
    try:
        with torch.no_grad(), counter:
            run(module, batch, "calibration batch")
    finally:
        for handle in handles:
            handle.remove()
    uncounted = 2 * sum(one.numel() for one in module.parameters())  # of layers it knows not
    return max(float(counter.get_total_flops()) + steps, uncounted)
