"""What a training is asked to do, as plain data: no torch is needed to say it.

Sources: the learned steps of fake quantisation are LSQ (Esser et al. 2020), the bits in the loss
entropy-penalised training (Oktay et al. 2020), distillation Hinton et al. 2015, the cubic schedule
of masks Zhu and Gupta 2017.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from taut.errors import ArgumentError

Optimizer = Literal["adamw", "sgd"]
Precision = Literal["float32", "bfloat16"]
Method = Literal["magnitude", "global", "wanda", "obs", "l1"]
Importance = Literal["magnitude", "taylor", "curvature"]


def _check(good: bool, name: str, value: object, want: str) -> None:
    if not good:
        raise ArgumentError(f"{name}: {value!r} cannot be; give {want}")


@dataclass(frozen=True)
class Distill:
    """Learning from a teacher: (1 - weight) * task + weight * T^2 KL(teacher_T || student_T).

    `features` are names of modules whose outputs should match the teacher's too, at
    `feature_weight` times their relative squared error.
    """

    weight: float = 0.9
    temperature: float = 2.0
    features: tuple[str, ...] = ()
    feature_weight: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        _check(0 <= self.weight <= 1, "distill weight", self.weight, "0 to 1")
        _check(0 < self.temperature <= 100, "temperature", self.temperature, "above 0, up to 100")
        _check(self.feature_weight >= 0, "feature_weight", self.feature_weight, "0 or more")


@dataclass(frozen=True)
class Masking:
    """Zeros to make: `sparsity` is their fraction, or `n_of_m` keeps N nonzero in each M.

    `method` is how a weight's worth is told: "magnitude" within its tensor, "global" over all,
    "wanda" (times its input's norm), "obs" (times its curvature), "l1" (a penalty draws them in).
    `gradual` masks grow by the cubic schedule between `begin` and `end` of the training (fractions
    of its steps), chosen anew every so often, so that weights can come back; otherwise the mask is
    made once, before. `regrow` is the fraction of the kept weights that gives way, at each choice,
    to those with the largest gradients. `block` prunes whole blocks (rows, columns).
    """

    sparsity: float | None = None
    n_of_m: tuple[int, int] | None = None
    method: Method = "global"
    gradual: bool = True
    begin: float = 0.0
    end: float = 0.6
    regrow: float = 0.0
    block: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        one = (self.sparsity is None) != (self.n_of_m is None)
        _check(one, "mask", (self.sparsity, self.n_of_m), "either sparsity or n_of_m")
        if self.sparsity is not None:
            _check(0 < self.sparsity < 1, "sparsity", self.sparsity, "a fraction between 0 and 1")
        if self.n_of_m is not None:
            kept, group = self.n_of_m
            _check(1 <= kept < group, "n_of_m", self.n_of_m, "N:M with 1 <= N < M")
        times = 0 <= self.begin < self.end <= 1
        _check(times, "begin, end", (self.begin, self.end), "0 <= begin < end <= 1")
        _check(0 <= self.regrow < 1, "regrow", self.regrow, "a fraction below 1")


@dataclass(frozen=True)
class Channels:
    """Channels to remove: a fraction of them, or down to a part of the parameters or FLOPs."""

    remove: float | None = None
    parameters: float | None = None
    flops: float | None = None
    importance: Importance = "magnitude"
    ignore: tuple[str, ...] = ()
    round_to: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        given = [x for x in (self.remove, self.parameters, self.flops) if x is not None]
        _check(len(given) == 1, "channels", given, "one of remove, parameters, flops")
        _check(0 < given[0] < 1, "channels", given[0], "a fraction between 0 and 1")


@dataclass(frozen=True)
class Training:
    """How to train: the built-in loop's settings, and what the loss consists of.

    `lr` None takes 1e-3 for AdamW and 0.01 for SGD. With `bits` the coder's estimated bits are in
    the loss, weighted so that the file comes out at the size asked. `activations` quantises what
    enters matrices too, to so many bits ("int8"). `patience` stops after so many epochs in which
    the loss did not fall. `warmup` and `ramp` are fractions of all steps: of the learning rate, and
    of the way from the starting size to the size asked. `accumulate` batches make one step.
    """

    epochs: int = 10
    optimizer: Optimizer = "adamw"
    lr: float | None = None
    momentum: float = 0.9
    weight_decay: float = 0.0
    warmup: float = 0.02
    ramp: float = 0.5
    accumulate: int = 1
    clip: float | None = None
    precision: Precision = "float32"
    patience: int | None = None
    bits: bool = True
    activations: Literal["int8"] | None = None
    distill: Distill | None = Distill()
    mask: Masking | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        _check(self.epochs >= 1, "epochs", self.epochs, "1 or more")
        _check(self.lr is None or 0 < self.lr <= 100, "lr", self.lr, "a positive number")
        _check(self.optimizer in ("adamw", "sgd"), "optimizer", self.optimizer, "adamw or sgd")
        _check(0 <= self.momentum < 1, "momentum", self.momentum, "0 to below 1")
        _check(self.weight_decay >= 0, "weight_decay", self.weight_decay, "0 or more")
        _check(0 <= self.warmup < 1, "warmup", self.warmup, "a fraction below 1")
        _check(0 < self.ramp <= 1, "ramp", self.ramp, "a fraction above 0")
        _check(self.accumulate >= 1, "accumulate", self.accumulate, "1 or more")
        _check(self.clip is None or self.clip > 0, "clip", self.clip, "a positive number")
        _check(self.patience is None or self.patience >= 1, "patience", self.patience, "1 or more")
