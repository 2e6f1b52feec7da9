"""Gives a model back: as arrays, as torch tensors, or into a module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar, overload

import numpy as np

from taut.container import TautFile, checked_threads, find_file
from taut.errors import ArgumentError
from taut.io import SAFETENSORS_DTYPES, TensorInfo
from taut.io.names import nearest
from taut.reshape import reshaped

if TYPE_CHECKING:
    import torch

    Module = TypeVar("Module", bound=torch.nn.Module)

# torch has its own types where numpy has none of its own: they pass as integers of their width.
_TORCH_TYPES = {
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2": "float8_e5m2",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
}
# Of batch norms; old checkpoints, and those made for inference, lack it, as torch allows.
_COUNT = "num_batches_tracked"


class TorchFile(Mapping[str, "torch.Tensor"]):
    """The tensors of a Taut file by name as torch tensors on the CPU, decoded when asked for."""

    def __init__(self, file: TautFile) -> None:
        _need_torch()
        self.file = file
        self._dtypes = {info.name: info.dtype for info in file.infos}

    def __getitem__(self, name: str) -> torch.Tensor:
        """Decode one tensor."""
        return to_torch(self.file[name], self._dtypes[name])

    def __iter__(self) -> Iterator[str]:
        """The names, in the model's order."""
        return iter(self.file)

    def __len__(self) -> int:
        """How many tensors there are."""
        return len(self.file)

    def __contains__(self, name: object) -> bool:
        """Whether there is a tensor of this name; decodes nothing."""
        return name in self.file

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Names and tensors in order, one decoded at a time."""
        for name in self:
            yield name, self[name]

    def load_all(self, *, threads: int | None = None) -> dict[str, torch.Tensor]:
        """Decode all tensors at once; they share one block of memory."""
        arrays = self.file.load_all(threads=threads)
        return {name: to_torch(array, self._dtypes[name]) for name, array in arrays.items()}


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
    opened = TautFile(find_file(file), threads=checked_threads(threads))
    if into is not None:
        return _load_into(TorchFile(opened), into, on_demand=on_demand)
    return TorchFile(opened) if framework == "torch" else opened


def to_torch(array: np.ndarray, dtype: str) -> torch.Tensor:
    """A torch tensor on the memory of `array`, which has the safetensors dtype `dtype`.

    Sub-byte dtypes stay packed bytes (uint8), but for float4, which torch has as pairs.
    """
    import torch

    if dtype not in _TORCH_TYPES:
        return torch.from_numpy(array)
    integer = np.int16 if SAFETENSORS_DTYPES[dtype].itemsize == 2 else np.uint8
    name = _TORCH_TYPES[dtype]
    if not hasattr(torch, name):
        raise ArgumentError(f"torch {torch.__version__} has no {name}; install a newer one")
    return torch.from_numpy(array.view(integer)).view(getattr(torch, name))


def _load_into(file: TorchFile, module: Module, *, on_demand: bool) -> Module:
    import torch

    if not isinstance(module, torch.nn.Module):
        raise ArgumentError(f"into: a {type(module).__name__} is no torch.nn.Module")
    if hasattr(module, "taut"):
        raise ArgumentError("into: this module loads on demand: module.taut.release() first")
    fill = _attach if on_demand else _fill
    widths = file.file.modules
    if not widths:
        return fill(file, module)
    shapes = {info.name: info.shape for info in file.file.infos}
    with reshaped(module, shapes, widths):
        return fill(file, module)


def _fill(file: TorchFile, module: Module) -> Module:
    import torch

    unsaved = _check_fits(file, module)
    tensors = file.load_all()
    with torch.no_grad():
        for name, buffer in unsaved.items():
            buffer.copy_(tensors.pop(name))
    module.load_state_dict(tensors, strict=False)  # strictness was ours, tied names are let go
    return module


def _attach(file: TorchFile, module: Module) -> Module:
    from taut.on_demand import attach

    tie = getattr(module, "tie_weights", None)  # of transformers; making it on meta undoes its ties
    if callable(tie) and any(parameter.is_meta for parameter in module.parameters()):
        tie()
    _check_fits(file, module, meta=True)
    lost = [n for n, b in module.named_buffers() if b.is_meta and n not in file]
    if lost:
        raise ArgumentError(
            f"{type(module).__name__}: the file has no buffer {', '.join(lost[:8])}, which the "
            "module made itself: build it with its buffers on the CPU (docs/loading.md)"
        )
    away = [n for n, t in module.state_dict().items() if t.device.type not in ("cpu", "meta")]
    if away:
        raise ArgumentError(f'on_demand is for the CPU; "{away[0]}" is not there')
    attach(module, file.file)
    return module


def _check_fits(file: TorchFile, module: Module, *, meta: bool = False) -> dict[str, torch.Tensor]:
    """Raise unless the file has the module's tensors; gives buffers that the module never saves.

    They may still be in a file of an older version of it.
    """
    state = module.state_dict(keep_vars=True)
    unsaved = {n: b for n, b in module.named_buffers() if n not in state and n in file}
    problems = _differences(file, {**state, **unsaved}, meta=meta)
    if problems:
        more = f"; and {len(problems) - 8} more" if len(problems) > 8 else ""
        raise ArgumentError(
            f"{file.file.path} does not fit {type(module).__name__}: "
            f"{'; '.join(problems[:8])}{more}"
        )
    return unsaved


def _differences(file: TorchFile, state: Mapping[str, torch.Tensor], *, meta: bool) -> list[str]:
    """What keeps the tensors of a file from being those of a module, a line each."""
    infos = {info.name: info for info in file.file.infos}
    present = {_memory(tensor) for name, tensor in state.items() if name in infos}
    problems = []
    for name, tensor in state.items():
        if name in infos:
            problems += _mismatch(infos[name], tensor, meta=meta)
        elif name.rpartition(".")[2] == _COUNT:
            continue
        elif _memory(tensor) not in present or not tensor.numel():
            problems.append(f'"{name}" is missing in the file{nearest(name, infos)}')
    extra = [name for name in infos if name not in state]
    problems += [f'"{name}" is not in the module{nearest(name, state)}' for name in extra]
    return problems


def _mismatch(info: TensorInfo, tensor: torch.Tensor, *, meta: bool) -> list[str]:
    if tensor.is_meta and not meta:
        return [f'"{info.name}" has no memory (meta device): module.to_empty(device="cpu") first']
    if tuple(tensor.shape) != info.shape:
        return [
            f'"{info.name}" is {list(info.shape)} in the file, {list(tensor.shape)} in the module'
        ]
    ours = _TORCH_TYPES.get(info.dtype) or str(SAFETENSORS_DTYPES.get(info.dtype, info.dtype))
    theirs = str(tensor.dtype).removeprefix("torch.")
    if ours != theirs:
        return [
            f'"{info.name}" is {ours} in the file, {theirs} in the module: '
            f"module.to(torch.{ours}) first"
        ]
    return []


def _memory(tensor: torch.Tensor) -> tuple[object, ...]:
    if tensor.is_meta:
        return (id(tensor),)
    return (tensor.device, tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype)


def _need_torch() -> None:
    try:
        import torch  # noqa: F401
    except ImportError:
        raise ArgumentError("this takes PyTorch: pip install 'taut[torch]'") from None
