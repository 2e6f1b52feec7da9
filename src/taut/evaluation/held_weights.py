"""Files of weights, and networks that are filled from them."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from taut.container import open_taut
from taut.errors import ArgumentError
from taut.io import Source, check_unchanged, open_source
from taut.io.gguf_metadata import METADATA
from taut.io.model_file import ModelFile
from taut.io.names import nearest
from taut.io.quantized import as_floats
from taut.loading.arrays import to_torch
from taut.loading.fitted_names import spelled
from taut.loading.float_file import with_floats
from taut.loading.gguf_by_network import network_within
from taut.loading.masks import Masks
from taut.loading.reshape import reshaped
from taut.loading.restore_gguf import is_gguf
from taut.networks import LoadedModel
from taut.networks.copies import copy_module

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class HeldWeights:
    """The tensors of the file at `path`, by the file's own names, and their shapes.

    Of a Taut file there are the `widths` of modules that were pruned, and the seconds to decode it.
    """

    path: Path
    tensors: Mapping[str, torch.Tensor]
    shapes: Mapping[str, tuple[int, ...]]
    widths: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    decode_seconds: float | None = None


def read_held(path: Path) -> HeldWeights:
    """The tensors of a Taut file, or of the one in a folder; of GGUF as transformers reads it."""
    opened = open_taut(path)
    began = time.perf_counter()
    if is_gguf(opened):
        with network_within(opened) as network:
            decoded = time.perf_counter() - began
            copies = {info.name: np.array(network.load(info.name)) for info in network.infos}
            held = _of_source(open_source(copies), opened.path)  # the network's file goes
            return replace(held, decode_seconds=decoded)
    file = with_floats(opened)
    arrays = file.load_all()
    decoded = time.perf_counter() - began
    beside = file.index.origin.metadata.get(METADATA)  # of a GGUF file: no weight of the network
    infos = [info for info in file.infos if info.name != beside]
    return HeldWeights(
        path=file.path,
        tensors={info.name: to_torch(arrays[info.name], info.dtype) for info in infos},
        shapes={info.name: info.shape for info in infos},
        widths=dict(file.modules),
        decode_seconds=decoded,
    )


def read_plain(path: Path | ModelFile) -> HeldWeights:
    """The tensors of any other model file."""
    return _of_source(as_floats(open_source(path)), Path(path))


def _of_source(source: Source, path: Path) -> HeldWeights:
    tensors = {info.name: to_torch(source.load(info.name), info.dtype) for info in source.infos}
    check_unchanged(source.stamps)
    return HeldWeights(
        path=path,
        tensors=tensors,
        shapes={info.name: info.shape for info in source.infos},
    )


def put_into(loaded: LoadedModel, held: HeldWeights) -> torch.nn.Module:
    """A copy of the network with a file's tensors as its own.

    Raises:
        ArgumentError: they do not fit; names the tensors.
    """
    held = _without_masks(_plainly_named(held, loaded), loaded)
    names = {n: loaded.names.get(n, n) for n in held.shapes if n not in loaded.unmapped}
    if not loaded.gradients:  # a graph: what it does not take as a weight is no tensor of it
        names = {n: inner for n, inner in names.items() if n in loaded.names}
    network = copy_module(loaded.module)
    with reshaped(network, {names[n]: held.shapes[n] for n in names}, dict(held.widths)):
        tensors = {names[n]: held.tensors[n] for n in names}
        _fill(network, tensors, held.path, loaded.missing)
    return network


def _plainly_named(held: HeldWeights, loaded: LoadedModel) -> HeldWeights:
    """The tensors without the words of wrappers that were around the network when it was saved."""
    known = {n: n for n in (*loaded.module.state_dict(), *loaded.names, *loaded.unmapped)}
    names = spelled(held.shapes, known)
    if all(to == stored for to, stored in names.items()):
        return held
    return replace(
        held,
        tensors={to: held.tensors[stored] for to, stored in names.items()},
        shapes={to: held.shapes[stored] for to, stored in names.items()},
    )


def _without_masks(held: HeldWeights, loaded: LoadedModel) -> HeldWeights:
    """The tensors as a network without pruning masks has them; bit-exact files hold two of one."""
    state = loaded.module.state_dict()
    joined = Masks.between(loaded.module, state, held.shapes).joined
    if not joined:
        return held
    tensors = dict(held.tensors)
    Masks(joined=joined).fill(tensors, state)
    shapes = {name: held.shapes.get(name, tuple(one.shape)) for name, one in tensors.items()}
    return replace(held, tensors=tensors, shapes=shapes)


def _fill(
    network: torch.nn.Module,
    tensors: Mapping[str, torch.Tensor],
    path: Path,
    missing: Collection[str],
) -> None:
    import torch

    held = {
        **dict(network.named_parameters(remove_duplicate=False)),
        **dict(network.named_buffers(remove_duplicate=False)),
    }
    problems = [*_misfits(held, tensors), *_gaps(network, held, tensors, missing)]
    if problems:
        raise ArgumentError(
            f"{path}: does not fit {type(network).__name__}: {'; '.join(problems[:8])}"
        )
    with torch.no_grad():
        for name, tensor in tensors.items():
            held[name].copy_(tensor)


def _misfits(
    held: Mapping[str, torch.Tensor], tensors: Mapping[str, torch.Tensor]
) -> Iterator[str]:
    """Tensors of the file that the network does not have, or has in another shape."""
    for name in tensors:
        if name not in held:
            yield f'"{name}" is not in it{nearest(name, held)}'
    for name, tensor in tensors.items():
        if name in held and tensor.shape != held[name].shape:
            yield (
                f'"{name}" is {list(tensor.shape)} in the file, {list(held[name].shape)} in the '
                "network"
            )


def _gaps(
    network: torch.nn.Module,
    held: Mapping[str, torch.Tensor],
    tensors: Mapping[str, torch.Tensor],
    missing: Collection[str],
) -> Iterator[str]:
    """Parameters that the file has no tensor for, but for those that are known to be missing."""
    filled = {held[name].data_ptr() for name in tensors if name in held}
    for name, one in network.named_parameters():
        if one.numel() and one.data_ptr() not in filled and name not in missing:
            yield f'"{name}" is missing in the file'
