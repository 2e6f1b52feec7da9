"""What only the `eval` extra installs, imported when it is needed."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from taut.errors import ArgumentError


def need_eval(package: str) -> ModuleType:
    """Import a module of scikit-learn or scipy.

    Raises:
        ArgumentError: it is not installed; says what to do.
    """
    try:
        return import_module(package)
    except ImportError as error:
        name = getattr(error, "name", None) or package
        raise ArgumentError(
            f"scores of labels, values and likelihoods take {name}: pip install 'taut[eval]'"
        ) from None
