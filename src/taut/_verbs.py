"""How `import taut` stays light: a verb is imported when it is first used.

Surprise: importing a submodule sets it as an attribute of its package, so that after
`import taut.compress` the name `taut.compress` would be a module and no verb any more. The
folders `analyze`, `plan`, `evaluate` and `export` stand behind verbs in the same way:
`taut.plan` is the verb, and `from taut.plan import load_plan` reaches into the folder.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Final

HOMES: Final = {
    "analyze": "taut.analysis",
    "compress": "taut.compress",
    "decompress": "taut.decompress",
    "evaluate": "taut.evaluation",
    "export": "taut.exporting",
    "frontier": "taut.frontier",
    "info": "taut.info",
    "load": "taut.load",
    "plan": "taut.planning",
    "report": "taut.storytelling",
    "verify": "taut.container.verify",
}


class Verbs(ModuleType):
    """The package `taut` as a module whose verbs outrank the modules of the same names."""

    def __getattr__(self, name: str) -> object:
        """Import the verb; only names not found otherwise come here."""
        if name not in HOMES:
            raise AttributeError(f"module 'taut' has no attribute {name!r}")
        return self.__dict__.setdefault(name, getattr(import_module(HOMES[name]), name))

    def __setattr__(self, name: str, value: object) -> None:
        """Set anything but a module in a verb's place."""
        if not (name in HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)
