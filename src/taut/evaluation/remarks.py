"""What an evaluation has to say beside its numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from taut.analysis.differences import folded_note
from taut.evaluation.contenders import Contender
from taut.scoring.results import Fidelity, Subject

if TYPE_CHECKING:
    import torch

_SAME: Final = 1.1  # times as fast: less is noise
_REASONS: Final = 4
_SHAPE: Final = re.compile(r"\[.*?\]")


def unfollowed(sides: Sequence[Contender], near: Fidelity) -> list[str]:
    """Which layers fidelity does not tell of, or tells otherwise than of errors, and why."""
    if any(side.runtime == "onnxruntime" for side in sides):
        return ["outputs alone are compared: onnxruntime shows no layers of a graph"]
    whys: dict[str, list[str]] = {}
    for name, why in near.left_out.items():
        whys.setdefault(_SHAPE.sub("[]", why), []).append(name)
    told = [f"{len(names)}, as {names[0]} ({near.left_out[names[0]]})" for names in whys.values()]
    left = [f"layers not compared: {'; '.join(told[:_REASONS])}"] if told else []
    return [*left, *folded_since(sides)]


def folded_since(sides: Sequence[Contender]) -> list[str]:
    """Whether batch norms that the original still has are identities in the model."""
    after, before = (_variances(side) for side in sides)
    told = {name for name, value in after.items() if bool((value == 1).all())}
    folded = {name for name in told & before.keys() if not bool((before[name] == 1).all())}
    return [folded_note(len(folded), "the model", "the original's")] if folded else []


def _variances(side: Contender) -> dict[str, torch.Tensor]:
    """The variances that batch norms of a PyTorch module keep, by name."""
    if side.runtime != "PyTorch":
        return {}
    buffers = side.module.named_buffers()
    return {name: value for name, value in buffers if name.rpartition(".")[2] == "running_var"}


def unseen_memory(sides: Sequence[Contender]) -> list[str]:
    """Whether a model's memory could not be measured."""
    if all(side.runtime == "PyTorch" for side in sides):
        return []
    return ["memory: what onnxruntime takes is not seen, so it is not told"]


def faster(subjects: Sequence[Subject], decoded: bool) -> str:
    """Whether the model also runs faster: as it was measured, or as it is by nature.

    `decoded` says that its weights come from a compressed file; of another that was not measured
    there is nothing to say.
    """
    new, old = subjects[0], subjects[-1]
    if len(subjects) == 2 and new.speed and old.speed:
        times = old.speed.p50 / new.speed.p50
        told = f"a call is {times:.2f}x as fast as the original's"
        return f"smaller, not faster: {told}" if decoded and times < _SAME else told
    return _by_nature(new, old) if decoded else ""


def _by_nature(new: Subject, old: Subject) -> str:
    """Whether a decoded model has less to compute than what it is held against, if anything."""
    if (new.parameters or 0) < (old.parameters or 0):
        return "fewer parameters: smaller, and less to compute; --speed measures what that wins"
    return "smaller, not faster: tensors come back as floats; an export makes it run faster"
