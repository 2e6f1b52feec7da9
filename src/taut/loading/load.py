"""Gives a model back: as arrays, as torch tensors, or into a module."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar, overload

from taut.container import TautFile, open_taut
from taut.container.through_stores import through_stores
from taut.errors import ArgumentError
from taut.loading.arrays import TorchFile
from taut.loading.modules import load_into
from taut.machine import checked_threads

if TYPE_CHECKING:
    import torch

    Module = TypeVar("Module", bound=torch.nn.Module)


@overload
def load(
    file: str | Path,
    *,
    into: None = None,
    framework: Literal["numpy"] = "numpy",
    on_demand: Literal[False] = False,
    threads: int | None = None,
) -> TautFile: ...


@overload
def load(
    file: str | Path,
    *,
    into: None = None,
    framework: Literal["torch"],
    on_demand: Literal[False] = False,
    threads: int | None = None,
) -> TorchFile: ...


@overload
def load(
    file: str | Path,
    *,
    into: Module,
    framework: Literal["numpy", "torch"] = "torch",
    on_demand: bool = False,
    threads: int | None = None,
) -> Module: ...


@through_stores("file", keep=True, glance=lambda given: given.get("into") is None)
def load(
    file: str | Path,
    *,
    into: torch.nn.Module | None = None,
    framework: Literal["numpy", "torch"] = "numpy",
    on_demand: bool = False,
    threads: int | None = None,
) -> TautFile | TorchFile | torch.nn.Module:
    """Open a Taut file, or the one in a model folder, as a lazy mapping of name to tensor.

    With `into`, load all tensors into that module (it is changed in place, by `load_state_dict`)
    and give it back; names, shapes and dtypes must be the module's. A file of a pruned model holds
    the shapes: its layers are made as small as the file's first, so that the module may be one of
    the class that was pruned.

    With `on_demand` the large weights of that module stay compressed: each is decoded for the layer
    that runs (the next one's meanwhile) and let go after it. Its parameters may be on the meta
    device. It is frozen and stays on the CPU; `module.taut` is its `OnDemand`, which tells what
    it holds and ends it (docs/loading.md).

    Raises:
        FormatError, VerifyError: the file is damaged; a module is then as it was. On demand, damage
            to a large weight is found when its layer runs.
        ArgumentError: no such file, or it does not fit the module; the message lists what differs.
    """
    if framework not in ("numpy", "torch"):
        raise ArgumentError(f'framework {framework!r} is unknown; "numpy" or "torch"')
    if on_demand and into is None:
        raise ArgumentError(
            "on_demand needs a module: taut.load(file, into=module, on_demand=True)"
        )
    opened = open_taut(file, threads=checked_threads(threads))
    if into is not None:
        return load_into(TorchFile(opened), into, on_demand=on_demand)
    return TorchFile(opened) if framework == "torch" else opened
