"""Laconic: the parameters of an AI model in as few bytes as the accuracy you ask for allows."""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from laconic.compress import compress, decompress, info, load, verify

__version__ = "0.1.0"
__all__ = ["compress", "decompress", "info", "load", "verify"]


class _Verbs(ModuleType):
    """Each verb is imported when first used, and outranks the module that has its name."""

    def __getattr__(self, name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module 'laconic' has no attribute {name!r}")
        return self.__dict__.setdefault(name, getattr(import_module("laconic.compress"), name))

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in __all__ and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Verbs
