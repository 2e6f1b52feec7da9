"""The rows of the classic tables: what is asked of each, and its hyperparameters.

`training` holds what `taut.transform.Training` is made of, in plain words; `batch` is of its
images; `shift` and `flip` augment them. A row without training has calibration data alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Settings: TypeAlias = Mapping[str, object]

_TAUGHT: Final = {"weight": 0.9, "temperature": 4.0}
_MASK: Final = {"sparsity": 0.95, "begin": 0.0, "end": 0.5}

# --- hyperparameters, a dict a row (rows of one network start from one) -------------------------
LENET300: Final[Settings] = {
    "epochs": 25,
    "optimizer": "adamw",
    "lr": 3e-3,
    "ramp": 0.6,
    "bits": True,
    "mask": None,
    "distill": _TAUGHT,
}
LENET300_LONG: Final[Settings] = {**LENET300, "epochs": 30}
LENET300_NO_BITS: Final[Settings] = {**LENET300, "bits": False}
LENET300_NO_KD: Final[Settings] = {**LENET300, "distill": None}
LENET300_MASK: Final[Settings] = {**LENET300, "mask": _MASK}

LENET5: Final[Settings] = {**LENET300, "epochs": 50, "lr": 2e-3, "distill": None}
LENET5_LONG: Final[Settings] = {**LENET5, "epochs": 100}
LENET5_ON: Final[Settings] = {**LENET5, "epochs": 10, "lr": 1e-3, "ramp": 0.5}
LENET5_LOW: Final[Settings] = {**LENET300, "epochs": 4, "bits": False}

RESNET20: Final[Settings] = {  # about half a second of one core a step
    "epochs": 10,
    "optimizer": "adamw",
    "lr": 1e-3,
    "bits": True,
    "mask": None,
    "distill": {"weight": 0.9, "temperature": 4.0},
}
RESNET20_30: Final[Settings] = {**RESNET20, "ramp": 0.6}
RESNET20_TUNED: Final[Settings] = {**RESNET20, "epochs": 3, "lr": 3e-4, "bits": False}
RESNET20_CHANNELS: Final[Settings] = {**RESNET20, "epochs": 6}
RESNET20_LOW: Final[Settings] = {**RESNET20, "epochs": 2, "bits": False}
NARROW: Final[Settings] = {  # long enough for a teacher to show, short enough for three seeds
    "epochs": 5,
    "optimizer": "sgd",
    "lr": 0.1,
    "weight_decay": 1e-4,
    "bits": False,
    "mask": None,
    "distill": {"weight": 0.9, "temperature": 4.0},
}
NARROW_ALONE: Final[Settings] = {**NARROW, "distill": None}

# --- schemes ------------------------------------------------------------------------------------
Rules: TypeAlias = tuple[tuple[str, str], ...]
_REST: Final = ("*", "fp16")  # biases, norms
# The layers next to the pixels and the classes are few weights, and others keep them at more bits.
_ENDS20: Final = (("conv1.weight", "int8"), ("linear.weight", "int8"))
_ENDS5: Final = (("conv1.weight", "int8"), ("fc2.weight", "int8"))
_EXACT: Final = (("*", "lossless"),)
# As Deep Compression has it: masks and few levels, and no word of bits while it trains.
_MASKED: Final = (("fc3.weight", "80%+int4"), ("*", "98%+int4"), _REST)
_CHANNELS: Final[Settings] = {"channels": {"remove": "50%", "importance": "magnitude"}}


@dataclass(frozen=True)
class Row:
    """One line of the tables.

    `ratio` is float32 bytes of all parameters over bytes of the file, asked for; `error` (percent)
    and `lost` (points) are the most that may come of it, where a number is asked. `rules` and
    `steps` are the plan's. `before` names a row whose file is trained further; `narrow` trains a
    network of half the width in the place of the original, which stays the teacher. `seeds` are
    those that run unless others are told.
    """

    name: str
    task: str
    training: Settings | None
    ratio: float | None = None
    error: float | None = None
    lost: float | None = None
    rules: Rules = ()
    steps: Sequence[Settings] = ()
    network: Literal["same", "narrow"] = "same"
    before: str = ""
    latency: bool = False
    batch: int = 128
    shift: int = 0
    flip: bool = False
    seeds: tuple[int, ...] = (0, 1, 2)

    @property
    def asked(self) -> str:
        """Say in words what is asked of the row."""
        if self.error is not None:
            return f"≥ {self.ratio:g}x at ≤ {self.error:g} %"
        if self.lost is not None:
            return f"≥ {self.ratio:g}x at ≤ {self.lost:g} points"
        return "" if self.ratio is None else f"≥ {self.ratio:g}x"


def _cifar(name: str, training: Settings, ratio: float | None = None, **more: object) -> Row:
    """Make a row of ResNet-20: augmented as usual, long, so of one seed unless told."""
    given = {"shift": 4, "flip": True, "seeds": (0,), **more}
    return Row(f"resnet20-{name}", "resnet20", training, ratio, **given)  # type: ignore[arg-type]


ROWS: Final = (
    Row("lenet300-120x", "lenet300", LENET300, 120, error=1.6),
    Row("lenet300-160x", "lenet300", LENET300_LONG, 160, error=1.6, shift=1),
    Row("lenet300-200x", "lenet300", LENET300, 200),
    Row("lenet5-500x", "lenet5", LENET5, 500, error=0.9, shift=2, seeds=(0,)),
    Row("lenet5-1000x", "lenet5", LENET5_LONG, 1000, error=0.96, shift=2, seeds=(0,)),
    Row("lenet5-900x", "lenet5", LENET5_ON, 900, shift=2, seeds=(0,), before="lenet5-500x"),
    _cifar("20x", RESNET20, 20, lost=0.5),
    _cifar("30x", RESNET20_30, 30, lost=1.5),
    _cifar("2of4-int8", RESNET20_TUNED, rules=(*_ENDS20, ("*", "2:4+int8"), _REST)),
    _cifar("half-channels", RESNET20_CHANNELS, 30, steps=(_CHANNELS,), latency=True),
    Row(
        "lenet5-ternary", "lenet5", LENET5_LOW, seeds=(0,), rules=(*_ENDS5, ("*", "ternary"), _REST)
    ),
    Row("lenet5-binary", "lenet5", LENET5_LOW, seeds=(0,), rules=(*_ENDS5, ("*", "binary"), _REST)),
    _cifar("ternary", RESNET20_LOW, rules=(*_ENDS20, ("*", "ternary"), _REST)),
    _cifar("binary", RESNET20_LOW, rules=(*_ENDS20, ("*", "binary"), _REST)),
    _cifar("narrow-taught", NARROW, rules=_EXACT, network="narrow", seeds=(0, 1, 2)),
    _cifar("narrow-alone", NARROW_ALONE, rules=_EXACT, network="narrow", seeds=(0, 1, 2)),
    Row("lenet300-no-bits", "lenet300", LENET300_NO_BITS, rules=_MASKED, seeds=(0,)),
    Row("lenet300-no-kd", "lenet300", LENET300_NO_KD, 120, seeds=(0,)),
    Row("lenet300-mask", "lenet300", LENET300_MASK, 120, seeds=(0,)),
    Row("lenet300-untrained", "lenet300", None, 120, seeds=(0,)),
)

# Which rows stand under which title, in their order; a row may stand in several tables.
TABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "LeNet-300-100, MNIST": ("lenet300-120x", "lenet300-160x", "lenet300-200x"),
    "LeNet-5 (Caffe), MNIST": ("lenet5-500x", "lenet5-900x", "lenet5-1000x"),
    "ResNet-20, CIFAR-10": (
        *("resnet20-20x", "resnet20-30x"),
        *("resnet20-2of4-int8", "resnet20-half-channels"),
    ),
    "Ternary and binary": (
        *("lenet5-ternary", "lenet5-binary"),
        *("resnet20-ternary", "resnet20-binary"),
    ),
    "Half the width": ("resnet20-narrow-taught", "resnet20-narrow-alone"),
    "Ablations": (
        *("lenet300-120x", "lenet300-no-bits", "lenet300-no-kd", "lenet300-mask"),
        *("lenet300-untrained",),
    ),
}
