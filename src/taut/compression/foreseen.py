"""What a compression gives back: of one that was done, or of one that is foreseen."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from taut.compression.request import Decision
from taut.container.info import Info, bits_per_value
from taut.encoding.estimate import estimate_memory, estimate_tensors
from taut.encoding.sampled import SampledSource
from taut.io.source import parameters_of

if TYPE_CHECKING:
    from taut.calibration import Try

_LOSSY = 1 << 22  # bytes of a model that are rounded, which takes longer than bit-exact coding


@dataclass(frozen=True, repr=False)
class Result(Info):
    """What a compression gave: `seconds` it took, `peak_memory` in bytes of the whole process
    (where the network ran, without pages of mapped files, which the system can drop).

    After a dry run sizes and memory are estimates, and `path` is where the file would be. Of a
    calibrated run `score` is what `score` gave of the model as it was written, `tries` are all
    scores on the way there, and `notes` say what went otherwise than asked, or was left out.
    """

    seconds: float
    peak_memory: int
    score: float | None = None
    original_score: float | None = None
    tries: tuple[Try, ...] = ()
    notes: tuple[str, ...] = ()


def foreseen(decision: Decision, dst: str | Path | None, began: float, held: int) -> Result:
    """The result of a run that writes nothing: sizes from samples, or from the search.

    `held` is the most memory that a run of the network has taken so far, in bytes.
    """
    source = decision.source
    whole = source.whole if isinstance(source, SampledSource) else source
    memory = estimate_memory(whole)  # before samples are coded, which the work itself never holds
    if isinstance(source, SampledSource) and decision.quantize is not None:
        source = SampledSource.of(source.whole, _LOSSY)
    elif decision.ready is not None and not decision.ready.of_rows:
        source = SampledSource.complete(source)
    tensors, size = estimate_tensors(source, decision.schemes, decision.effort, decision.quantize)
    if decision.size is not None:  # the search for the dial knows better
        size = decision.size
    parameters = parameters_of(source)
    return Result(
        path=Path(dst) if dst is not None else Path(),
        size=size,
        original_size=source.nbytes,
        ratio=source.nbytes / size,
        bits=bits_per_value(size, parameters),
        parameters=parameters,
        tensors=tensors,
        seconds=time.perf_counter() - began,
        peak_memory=max(memory, held),
    )
