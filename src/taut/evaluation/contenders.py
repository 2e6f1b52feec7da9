"""The two models of an evaluation, made to run: networks, files of weights, ONNX graphs."""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import xxhash

from taut.container.find import INDEX_SUFFIX, SUFFIX, TREE_SUFFIX
from taut.errors import ArgumentError, FormatError
from taut.evaluation.held_weights import put_into, read_held, read_plain
from taut.io import Source, open_source, read_header
from taut.io.content import kind_of
from taut.io.identity import model_identity
from taut.io.model_file import ModelFile, path_of
from taut.io.pytorch import is_module
from taut.io.quantized import as_floats
from taut.io.shard_index import bytes_with_shards
from taut.io.staged import told_name
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
    model: ModelSpec, original: ModelSpec | None, threads: int | None = None
) -> tuple[Contender, Contender | None, LoadedModel]:
    """Both models, and the network that files of weights were put into.

    `threads` are onnxruntime's, where it runs one of them (None: as many as torch's).

    Raises:
        ArgumentError: neither is a network, or a file does not fit the other.
    """
    if _holds_weights(model):
        return _weights_first(model, original, threads)
    if original is None:
        first, loaded = _running(model, threads)
        return first, None, loaded
    if _is_graph(model):
        second, loaded = _running(original, threads)
        return _of_graph(Path(str(model)), loaded.module, threads), second, loaded
    first, loaded = _running(model, threads)
    if _holds_weights(original):
        return first, _of_weights(Path(str(original)), loaded), loaded
    return first, _running(original, threads)[0], loaded


def _weights_first(
    model: ModelSpec, original: ModelSpec | None, threads: int | None
) -> tuple[Contender, Contender | None, LoadedModel]:
    """A file of weights in the network that it is held against, or in its own folder's."""
    path = Path(str(model))
    if original is None and _names_its_network(path):
        loaded = _restored(path)
        return _of_weights(path, loaded), None, loaded
    if isinstance(model, ModelFile) and is_taut(path):
        raise ArgumentError(f"{model}: key (--key): is for a checkpoint, and this is a Taut file")
    if original is None or _holds_weights(original):
        raise ArgumentError(
            f"{model}: holds weights alone; give the network that it belongs to as original "
            "(--original): a model folder, a .gguf file, file.py:function or an nn.Module"
        )
    second, loaded = _running(original, threads, fed=True)
    return _of_weights(model if isinstance(model, ModelFile) else path, loaded), second, loaded


def is_taut(path: Path) -> bool:
    """Whether a path is a Taut file, whatever its name, or a folder of one."""
    if path.is_dir():
        known = (SUFFIX, INDEX_SUFFIX, TREE_SUFFIX)
        return any(entry.name.endswith(known) for entry in path.iterdir())
    if path.name.endswith((INDEX_SUFFIX, TREE_SUFFIX)):
        return path.is_file()
    if not path.is_file() or _is_graph(path):
        return False
    try:
        return {"taut", "checksum", "index"} <= read_header(path).metadata.keys()
    except FormatError:
        return False


def _is_graph(spec: ModelSpec) -> bool:
    path = path_of(spec)
    return path is not None and path.suffix.lower() == ".onnx"


def _holds_weights(spec: ModelSpec) -> bool:
    path = path_of(spec)
    if path is None or names_callable(str(path)):
        return False
    if path.is_file():
        return not _is_graph(path) and kind_of(path) != "gguf"
    return path.is_dir() and is_taut(path)


def _gguf_of(spec: ModelSpec) -> Path | None:
    """The path of a GGUF model, which tells of its network by itself."""
    path = path_of(spec)
    return path if path is not None and path.is_file() and kind_of(path) == "gguf" else None


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
    source = as_floats(open_source(loaded.source))
    name = type(spec).__name__ if is_module(spec) else Path(str(spec)).resolve().name
    parameters = sum(p.numel() for p in loaded.module.parameters())
    path = loaded.source if isinstance(loaded.source, Path) else None
    size = source.nbytes
    if (gguf := _gguf_of(spec)) is not None:  # the network's folder is a temporary one
        path, size = gguf, open_source(gguf).nbytes
    if path is not None:
        name = told_name(path)
    return Contender(name, loaded.module, size, parameters, model_identity(source), path)


def _of_weights(path: Path | ModelFile, loaded: LoadedModel) -> Contender:
    """The network with a file's tensors in it; times are of the file read and of it decoded."""
    began = time.perf_counter()
    held = read_held(Path(path)) if is_taut(Path(path)) else read_plain(path)
    network = put_into(loaded, held)
    took = time.perf_counter() - began
    return Contender(
        name=held.path.name,
        module=network.eval(),
        size=bytes_with_shards(held.path),
        parameters=sum(p.numel() for p in network.parameters()),
        digest=_digest(held.path),
        path=held.path,
        load_seconds=took,
        decode_seconds=held.decode_seconds,
        runtime="PyTorch" if loaded.gradients else "onnxruntime",
    )


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
