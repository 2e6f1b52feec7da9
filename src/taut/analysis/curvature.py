"""How much the loss minds an error in each weight: second moments from one pass over the data.

For a weight matrix W with error E the loss of a sample rises by about tr(R E C E^T) (the Kronecker
factors of Martens and Grosse 2015): of a linear layer y = W x, C = H = mean of x x^T over positions
and R = G = sum over a sample's positions of g g^T, with g the gradient of the output y.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sized
from typing import TYPE_CHECKING, Final, TypeAlias

from taut.analysis._capture import Capture, watching
from taut.analysis._gram import Room
from taut.analysis._summed import finished
from taut.analysis.losses import Differentiated
from taut.analysis.metric import Curvature
from taut.analysis.prepared import matrices, prepared
from taut.errors import ArgumentError
from taut.extras import need_extra
from taut.networks.calls import explained, fitted, run, samples_of
from taut.networks.outputs import OUTPUTS, Loss
from taut.networks.portions import Portion
from taut.networks.precision import in_single

if TYPE_CHECKING:
    import torch

__all__ = ["MEMORY", "Curvature", "collect"]

Progress: TypeAlias = Callable[[str, int, int], object]  # stage, batches done, batches in all

MEMORY: Final = 2 << 30


def collect(
    module: torch.nn.Module,
    batches: Callable[[], Iterable[object]],
    *,
    loss: Loss | None = None,
    output: str = "auto",
    projections: int = 2,
    seed: int = 0,
    names: Collection[str] | None = None,
    widest: int = 8192,
    memory: int = MEMORY,
    progress: Progress | None = None,
) -> dict[str, Curvature]:
    """The curvature of every weight matrix of a module, by parameter name; tied names share one.

    A batch is given to the module as a dict of keyword arguments, a tuple or list of arguments, or
    the one argument; its samples are the first axis of its first tensor. Without a `loss` the
    model's own output is kept: `output` "logits" takes the Fisher of its predictions, "features"
    the Gauss-Newton matrix of the squared error, each by `projections` random backward passes;
    "auto" takes logits where the output has `.logits` or comes straight from a linear layer that
    is named like a head. `loss(output, batch)` gives one value for each sample, or their sum: a
    mean makes the curvature smaller by the square of the batch's size, which leaves the layers'
    shares as they are if batches are equally large.

    Sides wider than `widest` are diagonal. Sums beyond `memory` bytes go to temporary files. The
    module runs in evaluation mode (in float32 if it is narrower and runs so); it is left as it was.

    Raises:
        ArgumentError: torch is missing, no samples, an unknown name, a batch the module rejects,
            or NaN or infinite values (the message names the weight and the batch).

    >>> import torch
    >>> layer = torch.nn.Linear(2, 3)
    >>> batch = torch.tensor([[1.0, 0.0], [3.0, 0.0]])
    >>> found = collect(layer, lambda: [batch])["weight"]
    >>> found.columns.tolist(), found.mean_input.tolist(), found.bias, found.notes
    ([[5.0, 0.0], [0.0, 0.0]], [2.0, 0.0], 'bias', ('1 of 2 inputs are always zero',))
    """
    torch = need_extra("torch", "torch", "curvature takes")
    if output not in OUTPUTS:
        raise ArgumentError(f'output: "{output}" is none of {", ".join(OUTPUTS)}')
    if projections < 1 or widest < 1:
        raise ArgumentError("projections and widest must be at least 1")
    model = in_single(module, batches)
    tracked = matrices(model, names)
    capture = Capture(tracked, Room(memory), widest)
    passes = projections if loss is None else 1
    what = Differentiated(loss, output, passes, torch.Generator().manual_seed(seed))
    samples = 0
    with prepared(model, tracked, seed):
        given = batches()
        total = len(given) if isinstance(given, Sized) else 0
        for number, batch in enumerate(given, 1):
            capture.batch = _place(given, number)
            batch = fitted(batch, model)
            _differentiate(what, model, batch, capture)
            samples += samples_of(batch)
            if progress:
                progress("curvature", number, max(number, total))
    if not samples:
        raise ArgumentError("calibration: there are no samples; give at least one batch")
    biases = {id(p): name for name, p in model.named_parameters(remove_duplicate=False)}
    return finished(tracked, samples, passes, biases)


def _place(given: Iterable[object], number: int) -> str:
    """A batch in messages, by the caller's own number."""
    return f"batch {given.numbers[number - 1] if isinstance(given, Portion) else number}"


def _differentiate(
    what: Differentiated, model: torch.nn.Module, batch: object, capture: Capture
) -> None:
    """Run a batch forward, again where inputs must be copied, and then backward."""
    while True:
        with watching(capture.watch):
            scalars = what.scalars(run(model, batch, capture.batch), batch, capture)
        if not capture.again():
            break
        capture.forget()
    for index, scalar in enumerate(scalars):
        with explained(f"{capture.batch}: the model's backward pass failed", batch):
            scalar.backward(retain_graph=index + 1 < what.passes)  # type: ignore[no-untyped-call]
        capture.gradients()
    capture.forget()
