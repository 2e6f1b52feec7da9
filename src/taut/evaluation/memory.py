"""How many bytes a model takes: on disk, loaded, and at the peak of a forward pass.

Surprise: what a pass adds is what torch's allocator was asked for, its kernels' scratch included
(a convolution of oneDNN's may lay its output out twice), and not what the process grew by, which
depends on what ran before. What a runtime takes outside torch (onnxruntime, a driver) is not seen.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate, chain
from pathlib import Path
from typing import TYPE_CHECKING, Final

from taut.errors import ArgumentError
from taut.evaluation._still import still
from taut.io.shard_index import bytes_with_shards
from taut.networks.calls import copied, fitted, run, spread
from taut.scoring.results import Memory

if TYPE_CHECKING:
    import torch

_LEVEL: Final = "KINETO_LOG_LEVEL"


def measure_memory(
    module: torch.nn.Module, batch: object | None, *, file: Path | None = None
) -> Memory:
    """Bytes of the file, of parameters and buffers, and the most that running `batch` adds.

    Memory that several tensors share is counted once, under the first name; `resident` has also
    what a storage holds beside its tensors. The peak is that of a second pass, output included and
    `batch` not; None without a batch, on devices other than CPU and CUDA, and under a profiler. Of
    a module that loads on demand it has also the most that its decoded weights took.

    Raises:
        ArgumentError: the model rejects the batch, or `file` is not there.

    >>> import torch
    >>> found = measure_memory(torch.nn.Linear(10, 5), torch.ones(2, 10))
    >>> found.resident, found.peak, dict(found.tensors)
    (220, 40, {'weight': 200, 'bias': 20})
    """
    size = None if file is None else _file_size(file)
    tensors, resident, device = _held(module)
    with still(module):
        peak = None if batch is None else _peak(module, batch, device)
    stats = getattr(getattr(module, "taut", None), "stats", None)  # it loads on demand
    if stats is not None:
        size = stats.file if size is None else size
        peak = None if peak is None else peak + stats.pool_peak
    return Memory(file=size, resident=resident, peak=peak, device=device, tensors=tensors)


def _file_size(file: Path) -> int:
    """Bytes of a file, of an index and its shards, or of all files in a folder."""
    if not file.exists():
        raise ArgumentError(f"{file}: no such file or folder")
    if file.is_dir():
        return sum(part.stat().st_size for part in file.rglob("*") if part.is_file())
    return bytes_with_shards(file)


def _held(module: torch.nn.Module) -> tuple[dict[str, int], int, str]:
    """Bytes by name, of the storages behind them, and where the first of them lies."""
    tensors: dict[str, int] = {}
    seen: set[tuple[object, ...]] = set()
    storages: dict[tuple[str, int], int] = {}
    device = ""
    for name, tensor in chain(module.named_parameters(), module.named_buffers()):
        device = device or ("" if tensor.is_meta else str(tensor.device))
        for part in _dense(tensor):
            storage = part.untyped_storage()
            key = (str(part.device), storage.data_ptr())
            storages[key] = storage.nbytes()
            place = (*key, part.storage_offset(), part.dtype, part.shape, part.stride())
            if place not in seen or not part.numel():
                seen.add(place)
                tensors[name] = tensors.get(name, 0) + part.numel() * part.element_size()
    return tensors, sum(storages.values()), device or "cpu"


def _dense(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """The tensors with memory behind a tensor: itself, or what a sparse one or a subclass has.

    There are none behind a tensor on the meta device, or a subclass that has a shape alone.
    """
    import torch

    if type(tensor) not in (torch.Tensor, torch.nn.Parameter, torch.nn.Buffer):
        for name in tensor.__tensor_flatten__()[0] if hasattr(tensor, "__tensor_flatten__") else ():
            yield from _dense(getattr(tensor, name))
    elif tensor.layout is torch.sparse_coo:
        yield from (tensor.detach()._indices(), tensor.detach()._values())
    elif tensor.layout is not torch.strided:
        rows = tensor.layout in (torch.sparse_csr, torch.sparse_bsr)
        names = ("crow_indices", "col_indices") if rows else ("ccol_indices", "row_indices")
        yield from (getattr(tensor.detach(), name)() for name in (*names, "values"))
    elif not tensor.is_meta:
        yield tensor


@contextmanager
def _quiet() -> Iterator[None]:
    """No words of torch's profiler on stderr, which reads this when it first begins."""
    before = os.environ.get(_LEVEL)
    os.environ.setdefault(_LEVEL, "99")
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_LEVEL, None)


def _peak(module: torch.nn.Module, batch: object, device: str) -> int | None:
    """The most that a second pass adds; the first makes what a library keeps for good."""
    import torch

    kind = device.partition(":")[0]
    if kind not in ("cpu", "cuda") or torch._C._autograd._profiler_enabled():
        return None
    run(module, batch, "memory")
    own = copied(fitted(batch, module))  # before anything is counted
    if kind == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        spread(module, own, {})
        torch.cuda.synchronize(device)
        return int(torch.cuda.max_memory_allocated(device)) - before
    with _quiet(), torch.autograd.profiler.profile(profile_memory=True) as profile:
        spread(module, own, {})
    assert profile.kineto_results is not None
    events = [e for e in profile.kineto_results.events() if e.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    # Frees of what was there before are of unknown size to the profiler, which counts them as 0.
    return max(accumulate((int(event.nbytes()) for event in events), initial=0))
