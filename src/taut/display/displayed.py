"""Whether and how work in Python shows itself: on a terminal, in a notebook, or not at all."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar

from taut.display.course import Course
from taut.display.listener import Listener
from taut.errors import ArgumentError
from taut.progress import Progress, Shown

_SHOWING: ContextVar[bool] = ContextVar("showing", default=False)


@contextmanager
def displayed(progress: Shown) -> Iterator[Progress | None]:
    """A listener for the body: the caller's own, or bars that go away at the end, or none.

    With True there are bars if stderr is a terminal or this is a notebook, and no others are on
    show: work within work is part of it. With False, or None, there is nothing.

    Raises:
        ArgumentError: it is none of these.

    >>> with displayed(False) as step:
    ...     print(step)
    None
    """
    if callable(progress):
        yield progress
        return
    if progress is not None and not isinstance(progress, bool):
        raise ArgumentError(
            f"progress: a {type(progress).__name__}; give True, False, or a function that is "
            "called with a stage, how many pieces of it are done, and how many there are"
        )
    if not progress or _SHOWING.get():
        yield None
        return
    token = _SHOWING.set(True)
    try:
        with ExitStack() as stack:
            yield _opened(stack)
    finally:
        _SHOWING.reset(token)


def _opened(stack: ExitStack) -> Listener | None:
    """A listener with bars, where they can be seen."""
    course = Course()
    if in_notebook():
        from taut.display.notebook_bars import NotebookBars

        return Listener(_say, course, bars=stack.enter_context(NotebookBars(course)))
    if sys.stderr is None or sys.stderr.closed or not sys.stderr.isatty():
        return None
    from rich.errors import LiveError

    from taut.display.bars import bars

    try:
        shown = stack.enter_context(bars(course, (), transient=True))
    except LiveError:  # the caller has bars of rich on show, which older ones allow once
        return None
    return Listener(_say, course, bars=shown)


def in_notebook() -> bool:
    """Whether this runs in the kernel of a notebook, which shows what IPython displays."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and "IPKernelApp" in getattr(shell, "config", {})


def _say(label: str, text: str) -> None:
    print(f"  {label:<10} {text}", file=sys.stderr, flush=True)
