"""What only an extra installs, imported when it is needed."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from taut.errors import ArgumentError


def need_extra(package: str, extra: str, purpose: str) -> ModuleType:
    """Import a package that `pip install 'taut[EXTRA]'` brings.

    `purpose` begins the message, as "GGUF takes".

    Raises:
        ArgumentError: it is not installed; says what to do.

    >>> need_extra("no_such_package", "gguf", "GGUF takes")
    Traceback (most recent call last):
    taut.errors.ArgumentError: GGUF takes no_such_package: pip install 'taut[gguf]'
    """
    try:
        return import_module(package)
    except ImportError as error:
        name = {"torch": "PyTorch"}.get(package, getattr(error, "name", None) or package)
        raise ArgumentError(f"{purpose} {name}: pip install 'taut[{extra}]'") from None
