"""Where a training is, as one .npz of plain arrays: written whole or not at all, no pickle."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor, nn

from laconic.container import AtomicFile
from laconic.errors import ArgumentError


@dataclass
class Place:
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
    place: Place,
) -> None:
    """Write the model's state, the optimisers', and `place` (what JSON can say)."""
    arrays = {f"model/{name}": _plain(value) for name, value in model.state_dict().items()}
    for number, one in enumerate(optimizers):
        for key, state in one.state_dict()["state"].items():
            for name, value in state.items():
                if isinstance(value, Tensor):
                    arrays[f"optimizer/{number}/{key}/{name}"] = _plain(value)
    arrays["random"] = torch.get_rng_state().numpy()
    arrays["place"] = np.frombuffer(json.dumps(asdict(place)).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    with AtomicFile(path, force=True) as file:
        file.write(buffer.getvalue())
        file.commit()


def read_checkpoint(
    path: Path, model: nn.Module, optimizers: list[torch.optim.Optimizer], settings: str
) -> Place:
    """Put the state back; gives the place.

    Raises:
        ArgumentError: the file is damaged, or of another model or other settings.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        place = Place(**json.loads(arrays.pop("place").tobytes()))
    except (OSError, ValueError, KeyError, TypeError, BadZipFile) as error:
        raise ArgumentError(
            f"{path}: is no checkpoint ({error}); remove it to start anew"
        ) from None
    if place.settings != settings:
        raise ArgumentError(f"{path}: is of other training settings; remove it to start anew")
    state = {
        n.removeprefix("model/"): torch.from_numpy(a)
        for n, a in arrays.items()
        if "model/" in n[:6]
    }
    own = model.state_dict()
    wrong = [n for n in own.keys() | state.keys() if n not in own or n not in state]
    masks = [n for n in wrong if n.endswith(".mask") and n in state]
    if set(wrong) - set(masks):
        raise ArgumentError(f"{path}: is of another model ({wrong[0]}); remove it to start anew")
    for name in masks:
        owner = model.get_submodule(name.rpartition(".")[0])
        owner.mask = state[name]
    model.load_state_dict(state)
    for number, one in enumerate(optimizers):
        kept: dict[int, dict[str, Tensor]] = {}
        for name, array in arrays.items():
            if name.startswith(f"optimizer/{number}/"):
                _, _, key, field = name.split("/")
                kept.setdefault(int(key), {})[field] = torch.from_numpy(array)
        one.load_state_dict({**one.state_dict(), "state": kept})
    torch.set_rng_state(torch.from_numpy(arrays["random"]))
    return place


def _plain(value: Tensor) -> np.ndarray:
    value = value.detach().cpu()
    return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
