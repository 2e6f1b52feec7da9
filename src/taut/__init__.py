"""Taut: the parameters of an AI model in as few bytes as the accuracy you ask for allows.

`compress` a model, `verify` and `load` the file; `help(taut.load)` tells of one of these.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from taut.errors import (ArgumentError as ArgumentError, FormatError as FormatError,
    TargetError as TargetError, TautError as TautError, VerifyError as VerifyError)  # fmt: skip
from taut.version import __version__ as __version__

if TYPE_CHECKING:
    from taut.verbs import (analyze, compress, decompress, diff, evaluate, export, frontier, info,
                            load, load_file, plan, push, report, save_file, verify)  # fmt: skip

__all__ = ["analyze", "compress", "decompress", "diff", "evaluate", "export", "frontier", "info",
           "load", "load_file", "plan", "push", "report", "save_file", "verify"]  # fmt: skip


def __getattr__(name: str) -> object:
    """Import a verb when it is first asked for: `import taut` stays light (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module 'taut' has no attribute {name!r}")
    return globals().setdefault(name, getattr(import_module(f"taut.verbs.{name}"), name))


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
