"""How long work says where it is, what is still to come, and how large what it makes is so far.

Whoever works calls a plain function with a stage, how many pieces of it are done, and how many
there are. A listener that can do more also has `expect` and `weigh`, or `begin`: to others nothing
is told.

>>> def told(stage, done, total):
...     print(f"{stage} {done}/{total}")
>>> expect_stages(told, {"curvature": 1.0, "blocks": 3.0})  # not for a plain function
>>> told("blocks", 1, 31)
blocks 1/31
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias, runtime_checkable

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with the name of a stage, how many pieces of it are done, and how many there are.

A stage is one word; what follows it is told beside, as "train loss 0.31".
"""

Shown: TypeAlias = "Progress | bool | None"
"""How a verb shows its progress: True for bars on a terminal and in a notebook, False or None for
nothing, or the caller's own function."""


@runtime_checkable
class Foretelling(Protocol):
    """A listener that says when all stages will be done, and how large the result is."""

    def __call__(self, stage: str, done: int, total: int, /) -> None:
        """What every listener is called with."""

    def expect(self, costs: Mapping[str, float]) -> None:
        """The stages to come, in order, each with what it costs against the others."""

    def weigh(self, nbytes: int, target: int | None) -> None:
        """Bytes of what is made so far, and those that it may have in the end."""


@runtime_checkable
class Introducing(Protocol):
    """A listener that says what is to be done, once nothing speaks against it any more."""

    def __call__(self, stage: str, done: int, total: int, /) -> None:
        """What every listener is called with."""

    def begin(self) -> None:
        """Model, data, and what is asked for were looked at: the work begins."""


def begin_work(progress: Progress | None) -> None:
    """Tell that what can be refused beforehand was not: the work begins."""
    if isinstance(progress, Introducing):
        progress.begin()


def expect_stages(progress: Progress | None, costs: Mapping[str, float]) -> None:
    """Tell which stages are to come, in order, and what each costs against the others.

    Costs have any unit: seconds that were measured, or multiplications counted from shapes. Stages
    that never come cost nothing once a later one is under way.
    """
    if isinstance(progress, Foretelling):
        progress.expect(costs)


def report_bytes(progress: Progress | None, nbytes: int, target: int | None = None) -> None:
    """Tell how many bytes what is made takes so far, and how many it may have in the end."""
    if isinstance(progress, Foretelling):
        progress.weigh(nbytes, target)


def counted(progress: Progress | None, stage: str, total: int) -> Callable[[], None]:
    """Tell that a stage of `total` pieces begins; what is given is called as each is done.

    >>> opened = counted(lambda stage, done, total: print(stage, done, total), "open", 2)
    open 0 2
    >>> opened()
    open 1 2
    """
    done = -1

    def tell() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(stage, done, total)

    tell()
    return tell
