"""How much the loss minds an error in each weight: second moments from one pass over the data.

For a weight matrix W with error E the loss of a sample rises by about tr(R E C E^T) (the Kronecker
factors of Martens and Grosse 2015): of a linear layer y = W x, C = H = mean of x x^T over positions
and R = G = sum over a sample's positions of g g^T, with g the gradient of the output y.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sized
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from taut.analysis._capture import Capture, Tracked, watching
from taut.analysis._gram import Room
from taut.analysis._terms import Forms, Layer, added
from taut.analysis.losses import check, probes, user_loss
from taut.analysis.prepared import matrices, prepared
from taut.errors import ArgumentError
from taut.extras import need_extra
from taut.networks.calls import fitted, in_single, run, samples_of
from taut.networks.outputs import OUTPUTS, Loss, find_target

if TYPE_CHECKING:
    import torch

Progress: TypeAlias = Callable[[str, int, int], object]  # stage, batches done, batches in all

MEMORY: Final = 2 << 30


@dataclass(frozen=True)
class Curvature:
    """The metric of one stored matrix (m, n): its first axis by all others.

    `rows` is (m, m), or (m,) for a diagonal; `columns` (n, n), (n,), or (groups, n, n) where the
    rows fall into as many equal runs, each with its own. `mean_input` is the mean of the layer's
    input at live positions (of groups * n values for a grouped convolution), and `bias` the name
    of the parameter that can take up what an error does to it; both None where there is none.
    `kind` is "linear", "embedding", "conv", "conv_transpose", sums of these for a weight used in
    several ways, "gradient" (from gradients of the whole matrix, of a use not recognised), or
    "none" (the loss does not depend on it; all zeros). `stage` counts first uses in the forward
    pass. `notes` are for the user. `swapped`: the first axis takes the inputs, as in `x @ weight`,
    and `mean_input` goes with it.
    """

    rows: NDArray[np.floating]
    columns: NDArray[np.floating]
    mean_input: NDArray[np.float64] | None
    bias: str | None
    positions: int
    samples: int
    kind: str
    stage: int
    notes: tuple[str, ...] = ()
    swapped: bool = False


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
    module runs in evaluation mode (in float32 if it is narrower) and is left as it was.

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
    torch = _torch()  # type: ignore[no-untyped-call]
    if output not in OUTPUTS:
        raise ArgumentError(f'output: "{output}" is none of {", ".join(OUTPUTS)}')
    if projections < 1 or widest < 1:
        raise ArgumentError("projections and widest must be at least 1")
    model = in_single(module)
    tracked = matrices(model, names)
    capture = Capture(tracked, Room(memory), widest)
    passes = projections if loss is None else 1
    generator = torch.Generator().manual_seed(seed)
    samples = 0
    with prepared(model, tracked, seed):
        given = batches()
        total = len(given) if isinstance(given, Sized) else 0
        for number, batch in enumerate(given, 1):
            capture.batch = f"batch {number}"
            batch = fitted(batch, model)
            scalars = _scalars(model, batch, capture, loss, output, passes, generator)
            for index, scalar in enumerate(scalars):
                scalar.backward(retain_graph=index + 1 < passes)  # type: ignore[no-untyped-call]
                capture.gradients()
            capture.forget()
            samples += samples_of(batch)
            if progress:
                progress("curvature", number, max(number, total))
    if not samples:
        raise ArgumentError("calibration: there are no samples; give at least one batch")
    biases = {id(p): name for name, p in model.named_parameters(remove_duplicate=False)}
    return _finish(tracked, samples, passes, biases)


def _scalars(
    model: torch.nn.Module,
    batch: object,
    capture: Capture,
    loss: Loss | None,
    output: str,
    passes: int,
    generator: torch.Generator,
) -> Iterable[torch.Tensor]:
    """Run a batch; what is to be differentiated, one after another."""
    while True:
        with watching(capture.watch):
            given = run(model, batch, capture.batch)
            if loss is not None:
                scalars: Iterable[torch.Tensor] = [
                    user_loss(loss, given, batch, generator, capture.batch)
                ]
            else:
                target = find_target(given, output, capture.maker)
                check(target, capture.batch, capture.broken)
                scalars = probes(target, batch, generator, passes)
        if not capture.again():
            return scalars
        capture.forget()


def _finish(
    tracked: list[Tracked], samples: int, passes: int, biases: dict[int, str]
) -> dict[str, Curvature]:
    last = sum(one.stage is not None for one in tracked)
    found: dict[str, Curvature] = {}
    for one in tracked:
        if one.stage is None:
            one.stage, last = last, last + 1
        curvature = _curvature(one, samples, passes, biases)
        found |= dict.fromkeys(one.names, curvature)
    return found


def _curvature(one: Tracked, samples: int, passes: int, biases: dict[int, str]) -> Curvature:
    m, n = one.weight.shape[0], one.weight.numel() // one.weight.shape[0]
    layers = [layer for layer in one.layers.values() if layer.positions]
    terms = [layer.finish(samples, passes) for layer in layers]
    kinds = [layer.kind for layer in layers]
    notes: list[str] = []
    if one.whole is not None and np.any(one.whole.columns.values):
        terms.append(one.whole.finish(samples, passes))
        kinds.append("gradient")
        notes.append("used in a way that is not followed: from gradients of the whole matrix")
    if one.changed:
        notes.append("its input was changed in place after its use: its columns may be off")
    stage = one.stage or 0
    if not terms:
        none = Forms(np.zeros(m), np.zeros(n))
        notes.append("the loss does not depend on it")
        return Curvature(none.rows, none.columns, None, None, 0, samples, "none", stage, (*notes,))
    metric = terms[0]
    for term in terms[1:]:
        metric = added(metric, term)
    mean, bias = _correction(layers, biases)
    swapped = mean is not None and any(one.swapped for one in layers if one.mean is not None)
    positions = sum(layer.positions for layer in layers)
    notes += _notes(metric, kinds, positions)
    kind = "+".join(kinds)
    return Curvature(
        *(metric.rows, metric.columns, mean, bias, positions, samples, kind, stage, (*notes,)),
        swapped=swapped,
    )


def _correction(
    layers: list[Layer], biases: dict[int, str]
) -> tuple[NDArray[np.float64] | None, str | None]:
    """The mean input, and the one bias that all uses with a mean share."""
    means = [layer for layer in layers if layer.mean is not None]
    if len(means) != 1:
        return None, None
    (layer,) = means
    bias = biases.get(next(iter(layer.biases))) if len(layer.biases) == 1 else None
    return layer.mean, bias


def _notes(metric: Forms, kinds: list[str], positions: int) -> list[str]:
    notes = []
    sides = (("outputs", metric.rows), ("inputs", metric.columns))
    for what, side in sides if "embedding" not in kinds else ():
        diagonal = side if side.ndim == 1 else np.diagonal(side, axis1=-2, axis2=-1)
        if dead := int((diagonal == 0).sum()):
            notes.append(f"{dead} of {diagonal.size} {what} are always zero")
    if kinds == ["embedding"] and (unread := int((metric.rows == 0).sum())):
        notes.append(f"{unread} of {len(metric.rows)} rows were never read")
    wide = metric.columns.shape[-1]
    if kinds[0] in ("linear", "conv") and metric.columns.ndim > 1 and positions < wide:
        notes.append(f"fewer positions than inputs: {positions} for {wide}")
    return notes


def _torch():  # type: ignore[no-untyped-def]  # the module itself
    return need_extra("torch", "torch", "curvature takes")
