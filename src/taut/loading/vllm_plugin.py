"""vLLM opens a Taut folder like any other: what it loads is the decoded model (docs/hubs.md).

vLLM calls `register` by itself in each of its processes, by the entry point
`vllm.general_plugins`. It then knows the word that `taut compress` writes into a config, and asks
a loader of ours for weights; for models that are not Taut's that loader is vLLM's own.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Final

from taut.loading.vllm_classes import config_class, loader_class
from taut.loading.vllm_weights import METHOD

_FORMATS: Final = ("auto", "hf", "safetensors")  # those by which vLLM looks for safetensors


def register() -> None:
    """Make Taut folders known to the vLLM of this process; any number of times."""
    from vllm.model_executor.layers.quantization import register_quantization_config
    from vllm.model_executor.model_loader import register_model_loader

    loader = loader_class()
    register_quantization_config(METHOD)(config_class())
    with _silence(register_model_loader.__module__):
        for name in _FORMATS:
            register_model_loader(name)(loader)


@contextlib.contextmanager
def _silence(name: str) -> Iterator[None]:
    """Nothing of a logger's warnings: that a name is given a second time is meant here."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
