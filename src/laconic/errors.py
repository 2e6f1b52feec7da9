"""The five exceptions of Laconic; every message says what is wrong, where, and what to do."""

from __future__ import annotations


class LaconicError(Exception):
    """Root of all errors Laconic raises on purpose."""


class FormatError(LaconicError):
    """A file or stream is not valid: it breaks a rule of the format it claims to have."""


class ArgumentError(LaconicError):
    """The caller's mistake: an argument, rule, scheme or option that cannot be carried out."""


class TargetError(LaconicError):
    """A size or accuracy target was not reached.

    `best` is the nearest result that was, as the raising verb documents it (None: nothing was).
    """

    def __init__(self, message: str, *, best: object = None) -> None:
        super().__init__(message)
        self.best = best


class VerifyError(LaconicError):
    """Stored data does not match its checksum.

    `tensor` is the name of the damaged tensor and `chunk` the index of its part in the file
    (0 is the array header), each None where the damage is not inside one.
    """

    def __init__(
        self, message: str, *, tensor: str | None = None, chunk: int | None = None
    ) -> None:
        super().__init__(message)
        self.tensor = tensor
        self.chunk = chunk
