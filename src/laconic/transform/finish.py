"""Finishing touches: what costs almost no bits is tuned until the outputs are the original's.

Once the matrices are quantised, their error moves every layer's outputs in mean and in scale.
Biases, norms' scales and shifts are a thousandth of a model and can take much of that back. They
are learnt by distillation (Hinton, Vinyals and Dean 2015) from the original on the calibration
batches, without labels; batches set aside say when to believe it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from laconic.errors import ArgumentError
from laconic.io.names import nearest
from laconic.transform._outputs import Distance, Kind, Loss, run, vectors
from laconic.transform._portions import Batches, hold, samples, split

if TYPE_CHECKING:
    import torch

Progress: TypeAlias = Callable[[str, int, int], None]

RATE: Final = 0.02  # of a parameter's scale, in one step at the peak
_WORK: Final = 3e12  # multiply-adds of forward passes, about a minute on two cores
_STEPS: Final = (50, 1000)
_LOOKS: Final = 20  # times that the batches set aside are looked at
_WARM: Final = 0.05  # of all steps
_CACHE: Final = 256 << 20  # bytes of the original's outputs
_LARGEST: Final = 65504.0  # in fp16


@dataclass(frozen=True)
class Finished:
    """Tuned values by name, and the loss on the batches set aside: mean over their positions.

    `before` and `after` are nats of KL divergence for logits, the relative squared error for
    features (1 - cosine where they are of length 1), or the given loss. Where nothing made it
    smaller the values are those given, and `after` is `before`. `note` says what went otherwise
    than asked.
    """

    values: dict[str, NDArray[np.float32]]
    before: float
    after: float
    steps: int
    note: str = ""


def finish(
    student: torch.nn.Module,
    teacher: torch.nn.Module,
    batches: Batches,
    names: Sequence[str],
    *,
    kind: Kind,
    loss: Loss | None = None,
    steps: int | None = None,
    seconds: float | None = None,
    rate: float | None = None,
    seed: int = 0,
    round_to: Literal["fp16", "fp32"] = "fp16",
    progress: Progress | None = None,
) -> Finished:
    """Tune parameters of `student`, a copy with quantised matrices, toward `teacher`'s outputs.

    `names` are parameters of the student; those of batch norms are tuned with their running
    statistics held. A `loss(output, batch)`, a mean over the batch, takes the place of the
    distance to the original. `steps` goes by the work that a batch takes, never by the clock;
    `seconds` ends it sooner. `rate` is relative to each parameter's scale. The student is left
    with the values returned, which are representable in `round_to`.

    The same on one machine for one seed and number of threads, if `seconds` is not given.

    Raises:
        ArgumentError: a name is no parameter, there are no batches, or no outputs to compare.
    """
    import torch

    held, note = hold(batches)
    if not held:
        raise ArgumentError("finish: there are no batches")
    tuned, judges = split(held, seed)
    notes = [note] if note else []
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=[]))
        torch.manual_seed(seed)
        parameters = stack.enter_context(_tunable(student, names))
        stack.enter_context(_in_eval(teacher))
        judge = _Judge(student, teacher, held, kind, loss, judges or tuned)
        values = _Values(parameters, round_to)
        before = judge.mean(judges or tuned)
        if not judges:
            notes.append("nothing tuned: a single sample leaves none to judge by")
        limit = steps if steps is not None else _affordable(student, held[len(held) // 2])
        limit = limit if judges and math.isfinite(before) and parameters else 0
        clock = _Clock(limit, seconds)
        best, taken = before, 0
        optimizer = values.optimizer(RATE if rate is None else rate)
        order = _order(tuned, seed)
        while (share := clock.share(taken)) < 1:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * _height(share)
            total = judge.total(next(order))
            if not math.isfinite(float(total)):
                notes.append(f"stopped at step {taken + 1}: the loss is {float(total)}")
                break
            total.backward()  # type: ignore[no-untyped-call]
            values.step(optimizer)
            taken += 1
            if clock.looks(taken) and (found := values.judged(judge, judges)) < best:
                best = found
                values.keep()
            if progress:
                progress("finish", taken, limit)
        kept = values.restore()
    found = {name: value for name, value in kept.items()}
    return Finished(found, before, best, taken, "; ".join(notes))
