"""The network that a Taut file belongs to, with the file's values, and batches to run it on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from taut.container import TautFile, scratch_folder
from taut.errors import ArgumentError
from taut.exporting.safetensors import HubFolder, export_folder
from taut.loading.load import load
from taut.networks import LoadedModel, open_calibration, open_model
from taut.networks.copies import copy_module
from taut.scoring.criteria import network_of

if TYPE_CHECKING:
    from taut.networks import CalibrationSpec, ModelSpec

_WORDS: Final = ["A few words for an example.", "Another example, and it is somewhat longer."]


def filled_network(
    file: TautFile, out: Path, network: ModelSpec, companions: Path | None
) -> LoadedModel:
    """The network, its parameters those of the file.

    `companions` is the folder that describes the network, if it is one of transformers; else
    `network` is the module, or `file.py:function`. `out` is what is to be written: what is made on
    the way lies beside it.

    Raises:
        ArgumentError: it cannot be built, or has other tensors than the file.
    """
    if companions is not None:
        with scratch_folder(out, companions) as folder:
            named = folder / companions.resolve().name
            export_folder(file, named, HubFolder(companions))
            return open_model(named)
    loaded = open_model(network)
    if file.modules:  # pruned: the layers are made as small as the file's
        module = load(file.path, into=copy_module(loaded.module))
        return LoadedModel(module, loaded.tokenize, loaded.names, loaded.source)
    lost = [name for name in file if name not in loaded.names]
    if lost or loaded.missing:
        load(file.path, into=copy_module(loaded.module))  # raises, and says what differs
    return LoadedModel(network_of(loaded, file.path), loaded.tokenize, loaded.names, loaded.source)


def example_batches(loaded: LoadedModel, calib: CalibrationSpec | None, kind: str) -> list[object]:
    """The calibration's batches, or some words for a network that has a tokenizer.

    Raises:
        ArgumentError: it has none; names the format, `kind`.
    """
    if calib is not None:
        return list(open_calibration(calib, loaded))
    if loaded.tokenize is None:
        raise ArgumentError(
            f"calib (--calib): {kind} takes a batch to trace the network with; name data, or "
            "file.py:function that gives batches"
        )
    return [loaded.tokenize(_WORDS)]
