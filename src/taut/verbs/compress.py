"""The verb `compress`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from taut.compression.compress import carry_out
from taut.compression.foreseen import Result
from taut.compression.request import Call, CompressRequest
from taut.container.default_names import named_output
from taut.container.through_stores import through_stores
from taut.display import displayed
from taut.machine import checked_threads
from taut.machine.workers import open_workers
from taut.networks.recording import recording
from taut.networks.sources import chosen
from taut.planning.as_plan import as_plan
from taut.planning.target import read_bits, read_size
from taut.verbs.old_words import accepting

if TYPE_CHECKING:
    import torch

    from taut.coding import Effort
    from taut.container import BaseSpec
    from taut.io.file_objects import BinaryFile
    from taut.networks import CalibrationSpec
    from taut.networks.chosen_outputs import SharesSpec
    from taut.networks.sources import Model
    from taut.planning.as_plan import PlanSpec
    from taut.progress import Shown
    from taut.scheme import Scheme
    from taut.scoring.user_score import ScoreFunction
    from taut.training.data import TeacherSpec, TrainSpec

__all__ = ["Result", "compress"]


@accepting(evaluate="score")
@through_stores("src", "dst")
@recording()
def compress(
    src: Model | BinaryFile | bytes,
    dst: str | Path | BinaryFile | None = None,
    *,
    bits: float | str | None = None,
    size: str | int | None = None,
    ratio: float | str | None = None,
    scheme: str | Scheme | None = None,
    max_drop: str | float | None = None,
    calib: CalibrationSpec | None = None,
    score: ScoreFunction | None = None,
    loss: Callable[[object, object], torch.Tensor] | None = None,
    output: str | Mapping[str, str] | None = None,
    outputs: SharesSpec | None = None,
    train: TrainSpec | None = None,
    teacher: TeacherSpec | None = None,
    epochs: int | None = None,
    lr: float | None = None,
    plan: PlanSpec | None = None,
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
    progress: Shown = True,
) -> Result:
    """Write a model as one verified Taut file; bit-exact unless what is asked for is smaller.

    `src`: weights in a file, a folder or an open file, a dict of arrays, an nn.Module, or
    `file.py:function`. `dst`: a file, a folder for a model folder, or an open binary file; without
    it the file is named after `src`: net.taut.safetensors.

    How small: `bits` a parameter, `ratio` (8 times), `size` ("8x", "4.2MB", "12%"), a `scheme` for
    all matrices ("int8", "int4:g64"), or a `plan`: a dict of names and patterns to schemes, a plan
    file or preset. With `calib` (texts, batches, a DataLoader) rounding minds what the network
    makes of its data; what its outputs hold is told by their values, or said by `output` ("logits",
    "probabilities" or "features" of the main one, or by the places of several). All count alike;
    `outputs` weighs them by name or number ({"value": 0.1}), or names those that count. `max_drop`
    ("0.5%") is what `score(model)` may lose; `loss(output, batch)` takes the place of fidelity.
    With `train` (batches, a function, `fit(model, loss)`) the model learns to be small, from its
    `teacher` too, for `epochs` at `lr`. With `base`, a model that `src` was made from, the file is
    a delta.

    How: `effort` ("fast", "max"), `threads` (the bytes do not depend on them), `device`, `memory`
    and `scratch` of a calibrated run, `shard_size` ("5GB"), `finish` (biases and norms), `seed`,
    `fold` (batch norms into the weights before them, where weights are rounded; False leaves norms
    as they are), `key` of a checkpoint's part ("*": all of it), `strict` shards, `ray`, `resume`,
    `force` (replace), `dry_run`. `progress`: bars on a terminal and in a notebook; False for none,
    or a function of your own.

    docs/README.md has a page on each of these. `src`, `dst` and `calib` may be URLs of stores.

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
    model = cast("Model", src)  # an open file is one of this machine by now
    to = named_output(model, dst, dry_run=dry_run)
    with displayed(progress) as step, open_workers(ray, threads) as workers:
        call = Call(
            bits=read_bits(bits),
            size=read_size(size, ratio),
            max_drop=max_drop,
            calib=calib,
            score=score,
            loss=loss,
            output=output,
            outputs=outputs,
            plan=as_plan(plan, scheme),
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
                src=chosen(model, key, strict=strict),
                dst=to,
                call=call,
                base=base,
                force=force,
                dry_run=dry_run,
                progress=step,
            )
        )
