"""The two models of an evaluation, made to run: networks, files of weights, ONNX graphs."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import xxhash

from laconic.container import LaconicFile, find_file
from laconic.container.find import SUFFIX
from laconic.errors import ArgumentError
from laconic.identity import model_identity
from laconic.inputs import LoadedModel, ModelSpec, open_model
from laconic.inputs.callables import names_callable
from laconic.io import Source, open_source
from laconic.io.names import nearest
from laconic.io.pytorch import is_module
from laconic.load import to_torch
from laconic.reshape import reshaped

if TYPE_CHECKING:
    import torch

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Side:
    """A model that runs, and where it came from; `path` and times only where there is a file."""

    name: str
    module: torch.nn.Module
    size: int
    parameters: int | None
    digest: str
    path: Path | None = None
    load_seconds: float | None = None
    decode_seconds: float | None = None
    runtime: str = "PyTorch"


def open_sides(
    model: ModelSpec, against: ModelSpec | None
) -> tuple[Side, Side | None, LoadedModel]:
    """Both models, and the network that files of weights were put into.

    Raises:
        ArgumentError: neither is a network, or a file does not fit the other.
    """
    bare, other = _holds_weights(model), against is not None and _holds_weights(against)
    if bare and (against is None or other):
        raise ArgumentError(
            f"{model}: holds weights alone; give the network that it belongs to as against "
            "(--against): a model folder, file.py:function or an nn.Module"
        )
    runs = against if bare and against is not None else model
    loaded = open_model(runs)
    first = _of_weights(Path(str(model)), loaded) if bare else _of_network(model, loaded)
    if against is None:
        return first, None, loaded
    if bare:
        return first, _of_network(against, loaded), loaded
    second = _of_weights(Path(str(against)), loaded) if other else None
    return first, second or _of_network(against, open_model(against)), loaded


def is_laconic(path: Path) -> bool:
    """Whether a path is a Laconic file, or a folder of one."""
    if path.is_dir():
        return any(entry.name.endswith(SUFFIX) for entry in path.iterdir())
    if path.suffix != ".safetensors" or not path.is_file():
        return False
    return {"laconic", "checksum", "index"} <= open_source(path).metadata.keys()


def _holds_weights(spec: ModelSpec) -> bool:
    if is_module(spec) or not isinstance(spec, str | Path) or names_callable(str(spec)):
        return False
    path = Path(spec)
    return path.is_file() or (path.is_dir() and is_laconic(path))


def _of_network(spec: ModelSpec, loaded: LoadedModel) -> Side:
    source = open_source(loaded.source)
    name = type(spec).__name__ if is_module(spec) else str(spec)
    parameters = sum(p.numel() for p in loaded.module.parameters())
    path = loaded.source if isinstance(loaded.source, Path) else None
    return Side(name, loaded.module, source.nbytes, parameters, model_identity(source), path)


def _of_weights(path: Path, loaded: LoadedModel) -> Side:
    if path.suffix == ".onnx":
        return _of_graph(path, loaded)
    began = time.perf_counter()
    if is_laconic(path):
        opened = LaconicFile(find_file(path))
        shapes = {info.name: info.shape for info in opened.infos}
        begin = time.perf_counter()
        arrays = opened.load_all()
        decoded: float | None = time.perf_counter() - begin
        tensors = {i.name: to_torch(arrays[i.name], i.dtype) for i in opened.infos}
        widths, path = dict(opened.modules), opened.path
    else:
        source: Source = open_source(path)
        shapes = {info.name: info.shape for info in source.infos}
        tensors = {i.name: to_torch(source.load(i.name), i.dtype) for i in source.infos}
        widths, decoded = {}, None
    names = {n: loaded.names.get(n, n) for n in shapes if n not in loaded.unmapped}
    network = copy.deepcopy(loaded.module)
    with reshaped(network, {names[n]: shapes[n] for n in names}, widths):
        _fill(network, {names[n]: tensors[n] for n in names}, path, loaded.missing)
    took = time.perf_counter() - began
    parameters = sum(p.numel() for p in network.parameters())
    size = path.stat().st_size
    return Side(path.name, network.eval(), size, parameters, _digest(path), path, took, decoded)


def _fill(
    network: torch.nn.Module,
    tensors: dict[str, torch.Tensor],
    path: Path,
    missing: tuple[str, ...],
) -> None:
    import torch

    held = {
        **dict(network.named_parameters(remove_duplicate=False)),
        **dict(network.named_buffers(remove_duplicate=False)),
    }
    problems = [f'"{n}" is not in it{nearest(n, held)}' for n in tensors if n not in held]
    problems += [
        f'"{name}" is {list(tensor.shape)} in the file, {list(held[name].shape)} in the network'
        for name, tensor in tensors.items()
        if name in held and tensor.shape != held[name].shape
    ]
    filled = {held[name].data_ptr() for name in tensors if name in held}
    problems += [
        f'"{name}" is missing in the file'
        for name, one in network.named_parameters()
        if one.numel() and one.data_ptr() not in filled and name not in missing
    ]
    if problems:
        raise ArgumentError(
            f"{path}: does not fit {type(network).__name__}: {'; '.join(problems[:8])}"
        )
    with torch.no_grad():
        for name, tensor in tensors.items():
            held[name].copy_(tensor)


def _of_graph(path: Path, loaded: LoadedModel) -> Side:
    from laconic.export.onnx_module import open_onnx

    began = time.perf_counter()
    module = open_onnx(path, loaded.module)
    took = time.perf_counter() - began
    size = path.stat().st_size
    return Side(path.name, module, size, None, _digest(path), path, took, None, "onnxruntime")


def _digest(path: Path) -> str:
    found = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            found.update(block)
    return str(found.hexdigest())
