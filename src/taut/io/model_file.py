"""A path, with what is to be taken of what lies there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ModelFile:
    """A file or folder of weights, and how to read it.

    `key` names the part of a training's checkpoint that is the model (`"model"`, `"ema.module"`);
    without it the usual one is taken. With `strict` an index of shards must be all that they hold.

    >>> str(ModelFile(Path("last.ckpt"), key="ema"))
    'last.ckpt'
    """

    path: Path
    key: str | None = None
    strict: bool = False

    def __str__(self) -> str:
        return str(self.path)

    def __fspath__(self) -> str:
        return str(self.path)


def path_of(model: object) -> Path | None:
    """Where a model lies; None of one in memory."""
    if isinstance(model, ModelFile):
        return model.path
    return Path(model) if isinstance(model, (str, Path)) else None
