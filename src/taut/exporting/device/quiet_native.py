"""Converters without their talk: what they write to the streams, from C++ too."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_native() -> Iterator[None]:
    """Nothing of what runs within it is printed: not by Python, loggers or native code."""
    level = logging.root.manager.disable
    with contextlib.ExitStack() as stack:
        stack.enter_context(_descriptor_to_nothing(2))
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        logging.disable(logging.ERROR)
        try:
            yield
        finally:
            logging.disable(level)


@contextlib.contextmanager
def _descriptor_to_nothing(number: int) -> Iterator[None]:
    """A descriptor leads to nothing; left alone where there is none."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.flush()
    try:
        kept = os.dup(number)
    except OSError:
        yield
        return
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), number)
        try:
            yield
        finally:
            os.dup2(kept, number)
            os.close(kept)
