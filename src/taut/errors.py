"""The five exceptions of Taut; every message says what is wrong, where, and what to do."""

from __future__ import annotations

__all__ = ["ArgumentError", "FormatError", "TargetError", "TautError", "VerifyError"]


class TautError(Exception):
    """Root of all errors Taut raises on purpose."""


class FormatError(TautError):
    """A file or stream is not valid: it breaks a rule of the format it claims to have."""


class ArgumentError(TautError):
    """The caller's mistake: an argument, rule, scheme or option that cannot be carried out."""


class TargetError(TautError):
    """A size or accuracy target was not reached.

    `best` is the nearest result that was, as the raising verb documents it (None: nothing was).
    """

    def __init__(self, message: str, *, best: object = None) -> None:
        super().__init__(message)
        self.best = best


class VerifyError(TautError):
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
