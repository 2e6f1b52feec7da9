"""Finishing touches: what costs almost no bits is tuned until the outputs are the original's.

Once the matrices are quantised, their error moves every layer's outputs in mean and in scale.
Biases and the scales and shifts of norms are a thousandth of a model and can take much of that
back. They are learnt by distillation (Hinton, Vinyals and Dean 2015) from the original on the
calibration batches, without labels; batches set aside say when to believe it. Every other of these
says nothing on the way: it proves at the end that what was learnt helps where nothing was chosen
by it, and else nothing of it is kept. Recurrent networks prove it on long windows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from taut.errors import ArgumentError
from taut.io.names import nearest
from taut.networks.long_windows import joined
from taut.networks.output_vectors import Kind
from taut.networks.outputs import Loss
from taut.networks.portions import Batches, Portion, hold, split
from taut.transform._tuning import Clock, Tuning, height
from taut.transform.affordable import affordable_steps
from taut.transform.judge import Judge, Slope, prepared

if TYPE_CHECKING:
    import torch

Progress: TypeAlias = Callable[[str, int, int], None]


class Judging(Protocol):
    """What tells the loss over batches by their number, as `Judge` does."""

    def slope(self, index: int, tuned: Sequence[torch.nn.Parameter]) -> Slope:
        """The loss of one batch as a sum, with its gradients by what is tuned."""

    @property
    def judges(self) -> Sequence[int]:
        """The numbers of the batches that were set aside."""

    def mean(self, some: Sequence[int] | None = None) -> float:
        """The mean loss over these batches, or over some of them."""

    def each(self) -> list[float]:
        """What each output lost then."""


JudgeOf: TypeAlias = "Callable[[Portion, Sequence[int], Mapping[str, torch.nn.Parameter]], Judging]"
"""Makes what judges, from all batches, the numbers of those set aside, and what is tuned."""

RATE: Final = 0.01  # of a parameter's scale, in one step at the peak


@dataclass(frozen=True)
class Finished:
    """Tuned values by name, and the loss on the batches set aside: mean over their positions.

    `before` and `after` are nats of KL divergence for logits, the relative squared error for
    features (1 - cosine where they are of length 1), or the given loss: on those that no step was
    chosen by, if there are two batches. Where nothing made it smaller the values are those given,
    and `after` is `before`. `note` says what went otherwise than asked.
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
    others: Mapping[str, Kind] | None = None,
    shares: Mapping[str, float] | None = None,
    loss: Loss | None = None,
    steps: int | None = None,
    seconds: float | None = None,
    rate: float | None = None,
    seed: int = 0,
    round_to: Literal["fp16", "fp32"] = "fp16",
    progress: Progress | None = None,
    judge_of: JudgeOf | None = None,
) -> Finished:
    """Tune parameters of `student`, a copy with quantised matrices, toward `teacher`'s outputs.

    `names` are parameters of the student; those of batch norms are tuned with their running
    statistics held. `kind` says what the main output is, and `others` what the others are by their
    places (`other_kinds`); those that are not named are let go. `shares` are what each counts, as
    `Judge` has them. A `loss(output, batch)`, a mean over the batch, takes the place of the
    distance to the original. `steps` goes by the work that a batch takes, never by the clock;
    `seconds` ends it sooner. `rate` is relative to each parameter's scale; it falls by itself where
    it proves too high. The student is left with the values returned, which `round_to` can hold
    wherever tuning changed them.

    A network too large to be copied is `student` and `teacher` in one, and `judge_of` makes what
    runs it as the one and as the other.

    The same on one machine for one seed and number of threads, if `seconds` is not given.

    Raises:
        ArgumentError: a name is no parameter, there are no batches, or no outputs to compare.
    """
    import torch

    held, note = hold(batches, teacher)
    if not held:
        raise ArgumentError("finish: there are no batches")
    named, notes = _chosen(student, names)
    first = {id(one): name for name, one in reversed(named.items())}
    parameters = {name: named[name] for name in first.values()}
    tuned, judges = split(held, seed)
    with torch.random.fork_rng(devices=[]), prepared(student, teacher, [*parameters.values()]):
        torch.manual_seed(seed)  # for a model that draws even in eval mode
        if judge_of is None:
            held = _lengthened(held, judges, teacher)
            judge_of = _whole(student, teacher, kind, loss, others, shares)
        judge = judge_of(held, judges or tuned, parameters)
        looks, proof = judge.judges[::2], judge.judges[1::2]
        before = judge.mean(proof or looks)
        hindrances = _hindrances(judges, before)
        if hindrances or not parameters:
            steps = 0
        steps = affordable_steps(student, _middle(held, tuned)) if steps is None else steps
        tuning = Tuning(
            parameters,
            rate=RATE if rate is None else rate,
            half=round_to == "fp16",
            before=judge.mean(looks) if proof and steps else before,
        )
        clock = Clock(steps, seconds)
        steps_to = _Steps(judge, [*parameters.values()], _endlessly(tuned, seed), looks, proof)
        taken, trouble = _tune(tuning, steps_to, clock, progress)
        after, unproved = _proved(tuning, before, proof)
        tuned_to = tuning.settle()
    values = {name: tuned_to[first[id(one)]] for name, one in named.items()}
    said = "; ".join(filter(None, [note, *notes, *hindrances, trouble, unproved]))
    return Finished(values, before, after, taken, said)


def _proved(tuning: Tuning, before: float, proof: Sequence[int]) -> tuple[float, str]:
    """The loss that the best values have, and a note where they were undone."""
    if not proof:
        return tuning.after, ""
    if tuning.proved is None:
        return before, ""
    if tuning.proved <= before:
        return tuning.proved, ""
    tuning.undo()
    return before, "left out: on batches that nothing was chosen by, it took more than it gave"


def _lengthened(held: Portion, judges: Sequence[int], teacher: torch.nn.Module) -> Portion:
    """The batches with those that prove in long windows, where the network has a state."""
    longer = {at: joined(held[at], teacher) for at in judges[1::2]}
    longer = {at: one for at, one in longer.items() if one is not None}
    return Portion([longer.get(at, one) for at, one in enumerate(held)], held.numbers)


def _whole(
    student: torch.nn.Module,
    teacher: torch.nn.Module,
    kind: Kind,
    loss: Loss | None,
    others: Mapping[str, Kind] | None,
    shares: Mapping[str, float] | None,
) -> JudgeOf:
    """What makes a judge of two networks that are both whole."""
    return lambda batches, judges, _: Judge(
        student, teacher, batches, judges, kind, loss, others, shares
    )


def _middle(held: Portion, tuned: Sequence[int]) -> object:
    return held[tuned[len(tuned) // 2]]


def _hindrances(judges: Sequence[int], before: float) -> list[str]:
    """Why nothing can be tuned."""
    found = []
    if not judges:
        found.append("nothing tuned: there is a single sample, and none to judge by")
    if not math.isfinite(before):
        found.append(f"nothing tuned: the loss is {before} to begin with")
    return found


@dataclass(frozen=True)
class _Steps:
    """What gives the slope of the next batch in `order` by what is tuned.

    `looks` are the batches that decide on the way, `proof` those that do not.
    """

    judge: Judging
    tuned: list[torch.nn.Parameter]
    order: Iterator[int]
    looks: Sequence[int]
    proof: Sequence[int]

    def next(self) -> Slope:
        return self.judge.slope(next(self.order), self.tuned)

    def mean(self) -> float:
        return self.judge.mean(self.looks)

    def proved(self) -> float:
        return self.judge.mean(self.proof)


def _tune(
    tuning: Tuning, steps: _Steps, clock: Clock, progress: Progress | None
) -> tuple[int, str]:
    """Go on by a step at a time; gives the steps taken and what ended them early, or ""."""
    taken, trouble = 0, ""
    while not trouble and (share := clock.share(taken)) < 1:
        slope = steps.next()
        trouble = _trouble(slope, taken + 1)
        if not trouble:
            tuning.step(slope.gradients, height(share))
            taken += 1
            if clock.due(taken):
                tuning.consider(steps.mean, steps.proved if steps.proof else None)
        if progress:
            progress("finish", taken, clock.steps)
    return taken, trouble


def _trouble(slope: Slope, step: int) -> str:
    """Why a loss cannot be followed downhill, or ""."""
    if not math.isfinite(slope.total):
        return f"stopped at step {step}, where the loss is {slope.total}"
    if all(one is None for one in slope.gradients):
        return "nothing tuned: the outputs depend on none of the parameters"
    return ""


def _chosen(
    student: torch.nn.Module, names: Sequence[str]
) -> tuple[dict[str, torch.nn.Parameter], list[str]]:
    """The parameters by name, one that is tied by each of its names, and a note of the rest."""
    known = dict(student.named_parameters(remove_duplicate=False))
    buffers = dict(student.named_buffers(remove_duplicate=False))
    found: dict[str, torch.nn.Parameter] = {}
    for name in names:
        if name in known:
            found[name] = known[name]
        elif name not in buffers:
            raise ArgumentError(f"finish: {name} is no parameter{nearest(name, known)}")
    left = len(set(names)) - len(found)
    return found, [f"{left} buffers stay as they are"] if left else []


def _endlessly(batches: Sequence[int], seed: int) -> Iterator[int]:
    """All batches in a new order each time round."""
    rng = np.random.default_rng(seed)
    while True:
        yield from (batches[i] for i in rng.permutation(len(batches)))
