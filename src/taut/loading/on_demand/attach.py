"""Makes a module's large weights absent and loads the others."""

from __future__ import annotations

import torch
from torch import nn

from taut.container import TautFile
from taut.loading.arrays import to_torch
from taut.loading.on_demand.choose import choose
from taut.loading.on_demand.handle import OnDemand
from taut.loading.on_demand.rounded_rows import CacheDtype
from taut.networks.calls import explained


def attach(
    module: nn.Module, file: TautFile, cache: int = 0, cache_dtype: CacheDtype | None = None
) -> OnDemand:
    """Load what stays, and have the layers decode the rest when they run; gives `module.taut`.

    Names, shapes and dtypes are those of the file (the caller has checked that). Parameters may be
    on the meta device; they get memory only where they stay. `cache` bytes of decoded weights are
    kept between passes, rounded to `cache_dtype` where that is given.

    Raises:
        VerifyError, FormatError: what stays is damaged; the module is as it was.
    """
    infos = {info.name: info for info in file.infos}
    chosen = choose(module, infos)
    away = {id(owner._parameters[key]) for one in chosen for owner, key in one.owners}
    absent = {n for n, p in module.named_parameters(remove_duplicate=False) if id(p) in away}
    staying = {n: to_torch(file[n], infos[n].dtype) for n in file if n not in absent}
    _give_memory(module, away)
    _load(module, staying)
    handle = OnDemand(module, file, chosen, cache, cache_dtype)
    module.taut = handle  # type: ignore[assignment]
    return handle


def _load(module: nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    """Put tensors into a module, also into buffers that its state leaves out."""
    with torch.no_grad():
        for name, buffer in module.named_buffers():
            if name in tensors and name not in module.state_dict():
                buffer.copy_(tensors.pop(name))
        with explained(f"into: load_state_dict() of {type(module).__name__} failed"):
            module.load_state_dict(tensors, strict=False)


def _give_memory(module: nn.Module, away: set[int]) -> None:
    """Replace tensors on the meta device by empty ones, but for those of `away`; ties stay."""
    made: dict[int, torch.Tensor] = {}
    for owner in module.modules():
        for held in (owner._parameters, owner._buffers):
            for key, old in held.items():
                if old is None or not old.is_meta or id(old) in away:
                    continue
                if id(old) not in made:
                    empty = torch.empty(old.shape, dtype=old.dtype)
                    wrap = isinstance(old, nn.Parameter)
                    made[id(old)] = nn.Parameter(empty, old.requires_grad) if wrap else empty
                setattr(owner, key, made[id(old)])
