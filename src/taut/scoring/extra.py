"""What only the `eval` extra installs, imported when it is needed."""

from __future__ import annotations

from types import ModuleType

from taut.extras import need_extra


def need_eval(package: str) -> ModuleType:
    """Import a module of scikit-learn or scipy.

    Raises:
        ArgumentError: it is not installed; says what to do.
    """
    return need_extra(package, "eval", "scores of labels, values and likelihoods take")
