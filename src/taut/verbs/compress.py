"""The verb `compress`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from taut.compression.compress import carry_out
from taut.compression.foreseen import Result
from taut.compression.request import Call, CompressRequest
from taut.container.through_stores import through_stores
from taut.machine import checked_threads
from taut.machine.workers import open_workers
from taut.networks.recording import recording
from taut.networks.sources import chosen
from taut.verbs.old_words import accepting

if TYPE_CHECKING:
    import torch

    from taut.coding import Effort
    from taut.container import BaseSpec
    from taut.encoding.model import Plan
    from taut.networks import CalibrationSpec
    from taut.networks.sources import Model
    from taut.planning import Plan as PlanFile
    from taut.progress import Progress
    from taut.scoring.user_score import ScoreFunction
    from taut.training.data import TeacherSpec, TrainSpec

__all__ = ["Result", "compress"]


@accepting(evaluate="score")
@through_stores("src", "dst")
@recording()
def compress(
    src: Model,
    dst: str | Path | None = None,
    *,
    bits: float | None = None,
    size: str | int | None = None,
    max_drop: str | float | None = None,
    calib: CalibrationSpec | None = None,
    score: ScoreFunction | None = None,
    loss: Callable[[object, object], torch.Tensor] | None = None,
    output: str | Mapping[str, str] | None = None,
    train: TrainSpec | None = None,
    teacher: TeacherSpec | None = None,
    epochs: int | None = None,
    lr: float | None = None,
    plan: PlanFile | Plan | str | Path | None = None,
    effort: Effort | None = None,
    finish: bool | None = None,
    fold: bool | None = None,
    seed: int | None = None,
    threads: int | None = None,
    force: bool = False,
    dry_run: bool = False,
    resume: bool = False,
    memory: str | int | None = None,
    scratch: str | Path | None = None,
    device: str | None = None,
    shard_size: str | int | None = None,
    key: str | None = None,
    strict: bool = False,
    ray: str | None = None,
    base: BaseSpec | None = None,
    progress: Progress | None = None,
) -> Result:
    """Write a model as a Taut file; bit-exact unless what is asked for says otherwise.

    `src` is a safetensors file, a shards' index, a model folder, a checkpoint, a dict of arrays
    or a module; `dst` is a file, or for a model folder a folder that gets all other
    files too. `bits` are per parameter, `size` is "8x", "4.2MB", "12%" or bytes, `plan`
    maps names to schemes, or is a plan file or its path. `effort` is "fast" for bit-exact work and
    "max" for lossy, if not given. The bytes written do not depend on `threads`. Of a training's
    checkpoint `key` names the part to take (as "model"), by default the usual one; with `strict`
    shards must hold what their index lists, and nothing else.

    With `calib` (batches, texts, or where to find them: taut.networks) rounding minds what the
    model makes of its data; `src` is then a model folder, a module, or `file.py:function` that
    gives one. `max_drop` is how far `score(model)`, a score as `taut.evaluate` takes it, may
    fall: "0.5%" of it, or a number of its own units. `loss(output, batch)` takes the place of
    fidelity to the original. `finish=False` leaves biases and norms untuned. What outputs hold is
    told by their values, and a note says what was taken; `output` says it instead: "logits",
    "probabilities" or "features" of the main one, or by the places of several.

    Batch norms of a network that is rounded, with data or without, are folded into the weights
    before them; the file has identities in their place, and loads into the same class. Such a file
    is for evaluation; `fold=False` leaves norms as they are.

    A folder of shards becomes a folder of shards, with an index; `shard_size` ("5GB", or bytes) has
    others made, each of at most so much of the source. With `resume` a run that broke off goes on
    from its journal beside `dst`: what was finished is not done again.

    A calibrated run is refused before it starts if it would take more memory than `memory` ("8GB",
    or bytes; by default what the machine has free), or more disk than the folder `scratch` has for
    its temporary files (by default where the system has them). `device` ("cuda") collects the
    curvature, a block at a time.

    With `train` the model learns to be small: batches of (input, target) for the built-in loop, a
    function that gives those of an epoch, a `taut.transform.train.Fit`, or the caller's own
    `fit(model, loss)`, which calls `loss(task_loss).backward()` for each batch. `teacher` is what
    it learns from beside, the original if not given; `epochs` and `lr` go before the plan's.

    With `base` (a model that `src` was made from, a Taut file included) the file is a delta: it
    holds what `src` differs by, bit-exactly, or rounded to `bits` or `size`, and is read with that
    base (docs/deltas.md). New, missing and reshaped tensors are no matter.

    With `ray` ("auto", "local", "HOST:PORT") shards, and matrices of a calibrated run, are done by
    the workers of a Ray cluster, to the same bytes; all see the model and `dst` at the same paths.
    `src`, `dst` and `calib` may be URLs of stores ("s3://...": `pip install 'taut[remote]'`).

    Raises:
        ArgumentError: nothing was read or written yet; the message says what to change.
        FormatError: the source is damaged.
        TargetError: `bits`, `size` or `max_drop` cannot be met.
        TautError: the disk is full; whatever was at `dst` still is.

    >>> import numpy as np, tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "zeros.taut.safetensors"
    >>> compress({"w": np.zeros((512, 512), np.float32)}, path).ratio > 1000
    True
    """
    threads = checked_threads(threads)
    with open_workers(ray, threads) as workers:
        call = Call(
            bits=bits,
            size=size,
            max_drop=max_drop,
            calib=calib,
            score=score,
            loss=loss,
            output=output,
            plan=plan,
            effort=effort,
            threads=threads,
            finish=finish,
            fold=fold,
            seed=seed,
            resume=resume,
            memory=memory,
            scratch=scratch,
            device=device,
            shard_size=shard_size,
            train=train,
            teacher=teacher,
            epochs=epochs,
            lr=lr,
            workers=workers,
        )
        return carry_out(
            CompressRequest(
                src=chosen(src, key, strict=strict),
                dst=dst,
                call=call,
                base=base,
                force=force,
                dry_run=dry_run,
                progress=progress,
            )
        )
