"""Where a training is, as one .npz of plain arrays: written whole or not at all, no pickle."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor, nn

from taut.container import AtomicFile
from taut.errors import ArgumentError

_NUMPY_FLOATS = (torch.float16, torch.float32, torch.float64)


@dataclass
class LoopPosition:
    """Where a training is: counts, the best mean loss, and what its budget has come to."""

    epoch: int
    step: int
    calls: int
    best: float | None
    since: int
    budget: dict[str, float | None] | None
    settings: str


def write_checkpoint(
    path: Path,
    model: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    place: LoopPosition,
    beside: Mapping[str, Tensor],
) -> None:
    """Write the model's state, the optimisers', `place` (what JSON can say), and what is beside."""
    arrays = {f"model/{name}": _plain(value) for name, value in model.state_dict().items()}
    for number, one in enumerate(optimizers):
        for key, state in one.state_dict()["state"].items():
            for name, value in state.items():
                if isinstance(value, Tensor):
                    arrays[f"optimizer/{number}/{key}/{name}"] = _plain(value)
    arrays |= {f"beside/{name}": _plain(value) for name, value in beside.items()}
    arrays["random"] = torch.get_rng_state().numpy()
    _, keys, *numbers = np.random.get_state(legacy=True)
    arrays["random/keys"], arrays["random/numbers"] = np.asarray(keys), np.array(numbers, float)
    arrays["place"] = np.frombuffer(json.dumps(asdict(place)).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    with AtomicFile(path, force=True) as file:
        file.write(buffer.getvalue())
        file.commit()


def read_checkpoint(
    path: Path, model: nn.Module, optimizers: list[torch.optim.Optimizer], settings: str
) -> tuple[LoopPosition, dict[str, Tensor]]:
    """Put the state back; gives the place, and what was beside.

    Raises:
        ArgumentError: the file is damaged, or of another model or other settings.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        place = LoopPosition(**json.loads(arrays.pop("place").tobytes()))
    except (OSError, EOFError, ValueError, KeyError, TypeError, BadZipFile) as error:
        raise _damaged(path, error) from None
    if place.settings != settings:
        raise ArgumentError(f"{path}: is of other training settings; remove it to start anew")
    device = next(model.parameters()).device
    _put_model(path, model, {n: one.to(device) for n, one in _under("model/", arrays).items()})
    try:
        for number, one in enumerate(optimizers):
            _put_optimizer(one, _under(f"optimizer/{number}/", arrays))
        torch.set_rng_state(torch.from_numpy(arrays["random"]))
        at, has_gauss, cached = arrays["random/numbers"].tolist()
        np.random.set_state(("MT19937", arrays["random/keys"], int(at), int(has_gauss), cached))
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path, error) from None
    return place, {n: one.to(device) for n, one in _under("beside/", arrays).items()}


def _damaged(path: Path, error: Exception) -> ArgumentError:
    return ArgumentError(f"{path}: is no checkpoint ({error}); remove it to start anew")


def _under(begin: str, arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """The arrays whose names begin so, by the rest of the name."""
    return {n[len(begin) :]: torch.from_numpy(a) for n, a in arrays.items() if n.startswith(begin)}


def _put_model(path: Path, model: nn.Module, state: dict[str, Tensor]) -> None:
    """Load a state; masks may be where the model has none yet."""
    own = model.state_dict()
    masks = [n for n in state if n.endswith(".mask") and n not in own]
    names = sorted(own.keys() | state.keys() - set(masks))
    for name in names:
        if name not in own or name not in state or own[name].shape != state[name].shape:
            raise ArgumentError(f"{path}: is of another model ({name}); remove it to start anew")
    for name in masks:
        model.get_submodule(name.rpartition(".")[0]).mask = state[name]
    model.load_state_dict(state)


def _put_optimizer(optimizer: torch.optim.Optimizer, values: Mapping[str, Tensor]) -> None:
    kept: dict[int, dict[str, Tensor]] = {}
    for name, value in values.items():
        key, _, field = name.partition("/")
        kept.setdefault(int(key), {})[field] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": kept})


def _plain(value: Tensor) -> np.ndarray:
    value = value.detach().cpu()
    narrow = value.is_floating_point() and value.dtype not in _NUMPY_FLOATS
    return (value.float() if narrow else value).numpy()  # bfloat16 and float8: the same values
