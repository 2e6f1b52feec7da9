"""Transformers without its bars and warnings."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from taut.extras import need_extra


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """No bars and warnings of transformers: what is missing is told by `LoadedModel`."""
    logging = need_extra("transformers.utils.logging", "hf", "calibration takes")
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
