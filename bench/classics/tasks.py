"""The trained classifiers of the classic tables, by their names."""

from __future__ import annotations

from bench.classics import mnist
from bench.classics.data import Task

NAMES = ("lenet300", "lenet5", "resnet20")


def task(name: str) -> Task:
    """Build one of `NAMES`; RuntimeError says what data or package is missing."""
    if name != "resnet20":
        return mnist.lenet(name)
    try:
        from bench.classics.cifar import resnet20
    except ImportError as error:
        raise RuntimeError(f"{name}: {error.name or error} is not installed") from None
    return resnet20()
