"""The verb `verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taut.container import verify as check
from taut.container.verify import VerifyReport
from taut.display import displayed

if TYPE_CHECKING:
    from taut.container import BaseSpec
    from taut.loading.load import FileSpec
    from taut.progress import Shown

__all__ = ["VerifyReport", "verify"]


def verify(
    path: FileSpec,
    *,
    threads: int | None = None,
    base: BaseSpec | None = None,
    progress: Shown = True,
) -> VerifyReport:
    """Check and decode all of a Taut file or its shards, or of those in a folder, by tensors.

    A delta is decoded with its `base`, which is looked for beside it if none is given.

    Raises:
        VerifyError: bytes or values do not match their checksum; names the first damaged tensor and
            chunk, and how many more are damaged.
        FormatError: the file breaks a rule of docs/format.md.
        ArgumentError: there is no such file.
    """
    with displayed(progress) as step:
        return check(path, threads=threads, base=base, progress=step)
