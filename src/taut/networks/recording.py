"""Work on networks whatever mode the caller is in."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def recording() -> Iterator[None]:
    """Within it torch's inference mode is off, in which nothing that is made takes gradients.

    Copies of networks that are made within it can be trained. Without torch it does nothing.

    >>> import torch
    >>> with torch.inference_mode(), recording():
    ...     torch.ones(1).is_inference()
    False
    """
    if sys.modules.get("torch") is None:
        yield
        return
    import torch

    with torch.inference_mode(False):
        yield
