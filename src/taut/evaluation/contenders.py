"""The two models of an evaluation, made to run: networks, files of weights, ONNX graphs."""

from __future__ import annotations

import copy
import math
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import xxhash

from taut.container import TautFile, find_file
from taut.container.find import SUFFIX
from taut.errors import ArgumentError, FormatError
from taut.io import Source, check_unchanged, open_source, read_header
from taut.io.identity import model_identity
from taut.io.names import nearest
from taut.io.pytorch import is_module
from taut.loading.arrays import to_torch
from taut.loading.reshape import reshaped
from taut.loading.restore import decompress
from taut.networks import LoadedModel, ModelSpec, open_model
from taut.networks.callables import names_callable

if TYPE_CHECKING:
    import torch

_BLOCK: Final = 1 << 20
_FLOATS: Final = ("F16", "BF16", "F32", "F64")


@dataclass(frozen=True)
class Contender:
    """A model that runs, and where it came from; `path` and times only where there is a file.

    `copied` says that a score is to get a copy of the module.
    """

    name: str
    module: torch.nn.Module
    size: int
    parameters: int | None
    digest: str
    path: Path | None = None
    load_seconds: float | None = None
    decode_seconds: float | None = None
    runtime: str = "PyTorch"
    copied: bool = True


def open_sides(
    model: ModelSpec, against: ModelSpec | None, threads: int | None = None
) -> tuple[Contender, Contender | None, LoadedModel]:
    """Both models, and the network that files of weights were put into.

    `threads` are onnxruntime's, where it runs one of them (None: as many as torch's).

    Raises:
        ArgumentError: neither is a network, or a file does not fit the other.
    """
    bare, other = _holds_weights(model), against is not None and _holds_weights(against)
    if bare and against is None and _names_its_network(Path(str(model))):
        loaded = _restored(Path(str(model)))
        return _of_weights(Path(str(model)), loaded), None, loaded
    if bare and (against is None or other):
        raise ArgumentError(
            f"{model}: holds weights alone; give the network that it belongs to as against "
            "(--against): a model folder, file.py:function or an nn.Module"
        )
    if against is None:
        first, loaded = _running(model, threads)
        return first, None, loaded
    if bare or _is_graph(model):
        second, loaded = _running(against, threads, fed=bare)
        if bare:
            return _of_weights(Path(str(model)), loaded), second, loaded
        return _of_graph(Path(str(model)), loaded.module, threads), second, loaded
    first, loaded = _running(model, threads)
    if other:
        return first, _of_weights(Path(str(against)), loaded), loaded
    return first, _running(against, threads)[0], loaded


def is_taut(path: Path) -> bool:
    """Whether a path is a Taut file, whatever its name, or a folder of one."""
    if path.is_dir():
        return any(entry.name.endswith(SUFFIX) for entry in path.iterdir())
    if not path.is_file() or _is_graph(path):
        return False
    try:
        return {"taut", "checksum", "index"} <= read_header(path).metadata.keys()
    except FormatError:
        return False


def _is_graph(spec: ModelSpec) -> bool:
    return isinstance(spec, str | Path) and Path(spec).suffix.lower() == ".onnx"


def _holds_weights(spec: ModelSpec) -> bool:
    if is_module(spec) or not isinstance(spec, str | Path) or names_callable(str(spec)):
        return False
    path = Path(spec)
    return (path.is_file() and not _is_graph(path)) or (path.is_dir() and is_taut(path))


def _names_its_network(path: Path) -> bool:
    """Whether it is a Taut folder with the config of a network."""
    return path.is_dir() and (path / "config.json").is_file()


def _restored(folder: Path) -> LoadedModel:
    """The network of a Taut folder, opened from the ordinary folder that it stands for."""
    with tempfile.TemporaryDirectory(prefix="taut-", ignore_cleanup_errors=True) as temporary:
        whole = Path(temporary, folder.resolve().name)
        decompress(folder, whole)
        return open_model(whole)


def _running(
    spec: ModelSpec, threads: int | None, *, fed: bool = False
) -> tuple[Contender, LoadedModel]:
    """A model that runs by itself; with `fed`, an ONNX graph whose weights may be changed."""
    if is_module(spec) and hasattr(spec, "taut"):
        return _on_demand(spec)
    if _is_graph(spec) and not fed:
        side = _of_graph(Path(str(spec)), None, threads)
        return side, LoadedModel(side.module, None, {}, Path(str(spec)), gradients=False)
    loaded = open_model(spec)
    side = _of_network(spec, loaded)
    return (side if loaded.gradients else replace(side, runtime="onnxruntime")), loaded


def _on_demand(module: torch.nn.Module) -> tuple[Contender, LoadedModel]:
    """A module that loads on demand, as it is: it cannot be copied."""
    from taut.loading.on_demand import OnDemand

    handle = module.taut
    assert isinstance(handle, OnDemand)
    parameters = sum(p.numel() for p in module.parameters())
    digest = model_identity(open_source(module))
    side = Contender(
        type(module).__name__, module, handle.stats.file, parameters, digest, copied=False
    )
    return side, LoadedModel(module, None, {}, module, gradients=False)


def _of_network(spec: ModelSpec, loaded: LoadedModel) -> Contender:
    source = open_source(loaded.source)
    name = type(spec).__name__ if is_module(spec) else Path(str(spec)).resolve().name
    parameters = sum(p.numel() for p in loaded.module.parameters())
    path = loaded.source if isinstance(loaded.source, Path) else None
    return Contender(name, loaded.module, source.nbytes, parameters, model_identity(source), path)


def _of_weights(path: Path, loaded: LoadedModel) -> Contender:
    began = time.perf_counter()
    if is_taut(path):
        opened = TautFile(find_file(path))
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
        check_unchanged(source.stamps)
        widths, decoded = {}, None
    names = {n: loaded.names.get(n, n) for n in shapes if n not in loaded.unmapped}
    if not loaded.gradients:  # a graph: what it does not take as a weight is no tensor of it
        names = {n: inner for n, inner in names.items() if n in loaded.names}
    network = copy.deepcopy(loaded.module)
    with reshaped(network, {names[n]: shapes[n] for n in names}, widths):
        _fill(network, {names[n]: tensors[n] for n in names}, path, loaded.missing)
    took = time.perf_counter() - began
    parameters = sum(p.numel() for p in network.parameters())
    size = path.stat().st_size
    runtime = "PyTorch" if loaded.gradients else "onnxruntime"
    digest = _digest(path)
    return Contender(
        path.name, network.eval(), size, parameters, digest, path, took, decoded, runtime
    )


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


def _of_graph(path: Path, like: torch.nn.Module | None, threads: int | None) -> Contender:
    import torch

    from taut.networks.onnx_module import open_onnx

    source = open_source(path)
    began = time.perf_counter()
    module = open_onnx(path, like, threads=threads or torch.get_num_threads())
    took = time.perf_counter() - began
    return Contender(
        path.name, module, source.nbytes, _floats(source), _digest(path), path, took,
        runtime="onnxruntime", copied=False,
    )  # fmt: skip


def _floats(source: Source) -> int | None:
    """Parameters of a graph; None of quantised ones, whose scales are none."""
    if any(len(i.shape) > 1 and i.dtype not in (*_FLOATS, "I64", "BOOL") for i in source.infos):
        return None
    return sum(math.prod(info.shape) for info in source.infos if info.dtype in _FLOATS)


def _digest(path: Path) -> str:
    found = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            found.update(block)
    return str(found.hexdigest())
