"""How much the loss minds an error in each weight: second moments from one pass over the data.

For a weight matrix W with error E the loss of a sample rises by about tr(R E C E^T) (the Kronecker
factors of Martens and Grosse 2015): of a linear layer y = W x, C = H = mean of x x^T over positions
and R = G = sum over a sample's positions of g g^T, with g the gradient of the output y.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sized
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from taut.analysis._capture import Capture, Tracked, watching
from taut.analysis._gram import Room
from taut.analysis._terms import Forms, Layer, Whole, added
from taut.analysis.losses import Differentiated
from taut.analysis.prepared import matrices, prepared
from taut.errors import ArgumentError
from taut.extras import need_extra
from taut.networks.calls import explained, fitted, run, samples_of
from taut.networks.outputs import OUTPUTS, Loss
from taut.networks.precision import in_single

if TYPE_CHECKING:
    import torch

Progress: TypeAlias = Callable[[str, int, int], object]  # stage, batches done, batches in all

MEMORY: Final = 2 << 30
_IDLE: Final = "the loss does not depend on it"
_CUT_OFF: Final = "it is used, but no gradient comes back (detach, argmax): nothing is known of it"


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
            capture.batch = f"batch {number}"
            batch = fitted(batch, model)
            _differentiate(what, model, batch, capture)
            samples += samples_of(batch)
            if progress:
                progress("curvature", number, max(number, total))
    if not samples:
        raise ArgumentError("calibration: there are no samples; give at least one batch")
    biases = {id(p): name for name, p in model.named_parameters(remove_duplicate=False)}
    return _finish(tracked, samples, passes, biases)


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


def _finish(
    tracked: list[Tracked], samples: int, passes: int, biases: dict[int, str]
) -> dict[str, Curvature]:
    last = sum(one.stage is not None for one in tracked)
    found: dict[str, Curvature] = {}
    for one in tracked:
        if one.stage is None:
            one.stage, one.idle, last = last, True, last + 1
        curvature = _curvature(one, samples, passes, biases)
        found |= dict.fromkeys(one.names, curvature)
    return found


def _curvature(one: Tracked, samples: int, passes: int, biases: dict[int, str]) -> Curvature:
    layers = [layer for layer in one.layers.values() if layer.positions]
    terms = _terms(one.whole, layers, samples, passes)
    if not terms:
        return _of_nothing(one, samples)
    kinds = [kind for kind, _ in terms]
    metric = reduce(added, (form for _, form in terms))
    correction = _Correction.of(layers, biases)
    positions = sum(layer.positions for layer in layers)
    return Curvature(
        rows=metric.rows,
        columns=metric.columns,
        mean_input=correction.mean,
        bias=correction.bias,
        positions=positions,
        samples=samples,
        kind="+".join(kinds),
        stage=one.stage or 0,
        notes=(*_doubts(one, kinds), *_notes(metric, kinds, positions)),
        swapped=correction.swapped,
    )


def _terms(
    whole: Whole | None, layers: list[Layer], samples: int, passes: int
) -> list[tuple[str, Forms]]:
    """The metric of each kind of use, by what it was found from."""
    terms = [(layer.kind, layer.finish(samples, passes)) for layer in layers]
    if whole is not None and np.any(whole.columns.values):
        terms.append(("gradient", whole.finish(samples, passes)))
    return terms


def _of_nothing(one: Tracked, samples: int) -> Curvature:
    """The curvature of a weight that the loss does not depend on."""
    m, n = one.weight.shape[0], one.weight.numel() // one.weight.shape[0]
    return Curvature(
        rows=np.zeros(m),
        columns=np.zeros(n),
        mean_input=None,
        bias=None,
        positions=0,
        samples=samples,
        kind="none",
        stage=one.stage or 0,
        notes=(*_doubts(one, []), _IDLE if one.idle else _CUT_OFF),
    )


@dataclass(frozen=True)
class _Correction:
    """What a bias can take up: the mean input of the one use that has a mean, and the bias."""

    mean: NDArray[np.float64] | None = None
    bias: str | None = None
    swapped: bool = False

    @classmethod
    def of(cls, layers: list[Layer], biases: dict[int, str]) -> _Correction:
        """Empty where several uses have a mean, or none has."""
        means = [layer for layer in layers if layer.mean is not None]
        if len(means) != 1:
            return cls()
        (layer,) = means
        bias = biases.get(next(iter(layer.biases))) if len(layer.biases) == 1 else None
        return cls(layer.mean, bias, layer.swapped)


def _doubts(one: Tracked, kinds: list[str]) -> list[str]:
    """What makes a curvature less sure than others."""
    notes = []
    if "gradient" in kinds:
        notes.append("used in a way that is not followed: from gradients of the whole matrix")
    if one.changed:
        notes.append("its input was changed in place after its use: its columns may be off")
    return notes


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
