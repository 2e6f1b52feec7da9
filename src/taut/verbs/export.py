"""The verb `export`: a Taut file in, a model for another runtime out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from taut.container.find import as_path
from taut.container.through_stores import through_stores
from taut.exporting.request import ExportRequest
from taut.exporting.result import Export
from taut.exporting.run import run_export
from taut.progress import Progress
from taut.verbs.old_words import accepting

if TYPE_CHECKING:
    from taut.evaluation.measured_drops import Score
    from taut.networks import CalibrationSpec, ModelSpec

__all__ = ["Export", "export"]


@accepting(evaluate="score")
@through_stores(("file", "into"), "out")
def export(
    file: str | Path,
    out: str | Path,
    *,
    to: str | None = None,
    into: ModelSpec | None = None,
    dtype: str | None = None,
    weights: str | None = None,
    group_size: int | None = None,
    activations: str | None = None,
    ranges: str | None = None,
    max_error: float | None = None,
    calib: CalibrationSpec | None = None,
    score: Score | None = None,
    force: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Export:
    """Write the model that a Taut file holds in the format of another runtime.

    The format is the one of `out`'s suffix (`.safetensors`, `.onnx`, `.gguf`, `.tflite`, `.pte`,
    `.mlpackage`; else it is a Hugging Face folder), or `to`: one of safetensors, hf, onnx, gguf,
    compressed-tensors, litert, executorch and coreml. `into` is the
    original: a folder with its config, an nn.Module or `file.py:function` that gives one. `dtype`
    is of safetensors' floats; `weights`, `group_size`, `activations`, `ranges`, `max_error` and
    `calib` are of the grids of the other formats (docs/export.md). What was written is read back,
    or run, before it gets its name.

    Raises:
        ArgumentError: options do not go with the format, something is missing, or `out` exists.
        FormatError, VerifyError: the file is damaged, or what was written does not read back.
        TautError: the disk is full, or cannot be written for another reason.
    """
    return run_export(
        ExportRequest(
            source=as_path(file),
            out=as_path(out, "what to write"),
            to=to,
            into=into,
            dtype=dtype,
            weights=weights,
            group_size=group_size,
            activations=activations,
            ranges=ranges,
            max_error=max_error,
            calib=calib,
            score=score,
            force=force,
            threads=threads,
            progress=progress,
        )
    )
