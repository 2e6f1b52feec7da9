"""The verb `export`: a Taut file in, a model for another runtime out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from taut.container.find import as_path
from taut.container.through_stores import through_stores
from taut.display import displayed
from taut.errors import ArgumentError
from taut.exporting.request import ExportRequest
from taut.exporting.result import Export
from taut.exporting.run import run_export
from taut.progress import Shown
from taut.verbs.old_words import accepting

if TYPE_CHECKING:
    from taut.evaluation.measured_drops import Score
    from taut.io.file_objects import BinaryFile
    from taut.loading.load import FileSpec
    from taut.networks import CalibrationSpec, ModelSpec

__all__ = ["Export", "export"]


@accepting(evaluate="score")
@through_stores(("file", "into"), "out", suffix=lambda given: _suffix(given.get("to")))
def export(
    file: FileSpec,
    out: str | Path | BinaryFile,
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
    progress: Shown = True,
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
    with displayed(progress) as step:
        request = ExportRequest(
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
            progress=step,
        )
        return run_export(request)


def _suffix(to: object) -> str:
    """How the file ends that an open one gets, by the format.

    Raises:
        ArgumentError: no format is named, or it is one of folders.
    """
    if to in ("safetensors", "onnx", "gguf"):
        return f".{to}"
    if to is None:
        raise ArgumentError('to: an open file has no suffix; give to="safetensors", onnx or gguf')
    raise ArgumentError(f"to: {to!r} is not written to an open file; name a folder")
