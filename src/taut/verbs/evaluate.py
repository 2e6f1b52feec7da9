"""The verb `evaluate`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from taut.container.through_stores import through_stores
from taut.display import displayed
from taut.evaluation.compare import CompareRequest, compare
from taut.networks.sources import chosen
from taut.scoring.results import Evaluation
from taut.verbs.old_words import accepting

if TYPE_CHECKING:
    from taut.io.file_objects import BinaryFile
    from taut.networks import CalibrationSpec, ModelSpec
    from taut.progress import Shown
    from taut.scoring.user_score import ScoreFunction

__all__ = ["Evaluation", "evaluate"]


@accepting(against="original", batches="calib")
@through_stores(("model", "original"))
def evaluate(
    model: ModelSpec | BinaryFile | bytes,
    score: ScoreFunction | None = None,
    *,
    original: ModelSpec | BinaryFile | bytes | None = None,
    calib: CalibrationSpec | None = None,
    speed: bool = False,
    memory: bool = False,
    energy: bool = False,
    fidelity: bool | None = None,
    seed: int = 0,
    threads: int | None = None,
    watts: float | None = None,
    key: str | None = None,
    progress: Shown = True,
) -> Evaluation:
    """Judge a model, and hold it against the one that it came from.

    `model` is an nn.Module, a model folder, `file.py:function`, or weights (a Taut file or
    folder, `.safetensors`, `.onnx`), whose network `original` is then. `score(model)` gives a
    number, or arrays as `read_outcome` takes them; both models are judged on copies. Speed,
    memory, energy and fidelity run the model on `calib`; fidelity is on where these and
    `original` are given. `watts` of a busy core make an estimate of energy where no meter is.
    `key` names the part of a checkpoint that `model` is, as in `compress`.

    Raises:
        ArgumentError: there is nothing to judge by, a model cannot be had, or `score` fails.
        FormatError, VerifyError: a file is damaged.
    """
    request = CompareRequest(
        model=cast("ModelSpec", chosen(cast("ModelSpec", model), key)),
        score=score,
        original=cast("ModelSpec | None", original),
        calib=calib,
        speed=speed,
        memory=memory,
        energy=energy,
        fidelity=fidelity,
        seed=seed,
        threads=threads,
        watts=watts,
    )
    with displayed(progress) as step:
        return compare(replace(request, progress=step))
