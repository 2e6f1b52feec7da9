"""What only an extra installs, imported when it is needed."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from taut.errors import ArgumentError


def need(package: str, purpose: str) -> ModuleType:
    """Import a package of the `hf` extra.

    Raises:
        ArgumentError: it is not installed; the message begins with `purpose` and says what to do.
    """
    try:
        return import_module(package)
    except ImportError as error:
        name = getattr(error, "name", None) or package
        raise ArgumentError(f"{purpose} takes {name}: pip install 'taut[hf]'") from None
