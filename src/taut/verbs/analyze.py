"""The verb `analyze`."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from taut.analysis.tensor_facts import Report, TensorFacts
from taut.container.through_stores import through_stores
from taut.display import displayed
from taut.evaluation.describe import SCHEMES, DescribeRequest, describe
from taut.evaluation.measured_drops import Score
from taut.networks.recording import recording
from taut.networks.sources import chosen
from taut.verbs.old_words import accepting

if TYPE_CHECKING:
    from taut.io.file_objects import BinaryFile
    from taut.networks import CalibrationSpec
    from taut.networks.outputs import Loss
    from taut.networks.sources import Model
    from taut.progress import Shown

__all__ = ["SCHEMES", "Report", "TensorFacts", "analyze"]


@accepting(evaluate="score")
@through_stores("src")
@recording()
def analyze(
    src: Model | BinaryFile | bytes,
    calib: CalibrationSpec | None = None,
    *,
    loss: Loss | None = None,
    measure: bool | str = False,
    score: Score | None = None,
    threads: int | None = None,
    seed: int = 0,
    key: str | None = None,
    strict: bool = False,
    progress: Shown = True,
) -> Report:
    """Describe a model; with calibration data, predict which tensors it minds being rounded.

    `src` is what `compress` takes, or `file.py:function`; a file alone needs no torch. `calib` are
    batches, texts or arrays; `src` must then run: a model folder, `file.py:function` or a module,
    which is copied and never changed. `loss(output, batch)` gives one value for each sample, or
    their sum; without it the model's own output is what must be kept. With `measure` (True, or a
    scheme) each matrix alone is rounded by it and the model judged: by `score(model)`, higher
    being better, or else by its outputs on the calibration data. `threads` are those of torch.
    `key` and `strict` are as in `compress`.

    Raises:
        ArgumentError: there is no such model or data, or the two do not fit.
        FormatError: a file is damaged.

    >>> import numpy as np
    >>> report = analyze({"w": np.eye(64, dtype=np.float32)})
    >>> report.tensors[0].distribution.zeros, report.parameters
    (4032, 4096)
    """
    with displayed(progress) as step:
        request = DescribeRequest(
            src=chosen(cast("Model", src), key, strict=strict),
            calib=calib,
            loss=loss,
            measure=measure,
            score=score,
            threads=threads,
            seed=seed,
            progress=step,
        )
        return describe(request)
