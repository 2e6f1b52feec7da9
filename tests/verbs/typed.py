"""What a type checker knows of the verbs: checked by mypy with the package, and never run."""

from __future__ import annotations

import io
from typing import assert_type

import numpy as np
import torch
from torch.utils.data import DataLoader

import taut
from taut.compression.foreseen import Result
from taut.container import TautFile, VerifyReport
from taut.container.info import Info
from taut.container.reader import TensorSlice
from taut.loading.arrays import ArrayFile, TorchFile
from taut.loading.gguf_tensors import GgufTensors
from taut.planning import Plan
from taut.scoring.results import Evaluation
from taut.sweep.pareto import Frontier, Point


class Net(torch.nn.Module):
    """A network of the caller's own."""


def sizes(
    loader: DataLoader[tuple[torch.Tensor, torch.Tensor]], arrays: dict[str, np.ndarray]
) -> None:
    """What may be asked for."""
    assert_type(taut.compress("model.safetensors"), Result)
    taut.compress(arrays, io.BytesIO(), bits="3", progress=False)
    taut.compress(Net(), "out", ratio=8, calib=loader)
    taut.compress(b"...", "out", scheme="int8", plan={"*": "int8"})
    taut.save_file(arrays, "out", {"format": "np"}, size="8x")
    assert_type(taut.plan(arrays, ratio="8x"), Plan)
    found = taut.frontier(arrays, bits=[3, "4"], schemes="int8")
    assert_type(found, Frontier)
    assert_type(found.smallest("1%"), Point | None)


def read(path: str) -> None:
    """What comes back."""
    assert_type(taut.load(path, into=Net()), Net)
    with taut.load(path) as file:
        assert_type(file, TautFile | GgufTensors | ArrayFile)
        assert_type(file["w"], np.ndarray)
        assert_type(file.get_slice("w")[:3], np.ndarray)
        assert_type(file.metadata(), dict[str, str] | None)
        assert_type(file.keys()[0], str)
    with taut.load(io.BytesIO(), framework="pt", device=0, dtype=torch.float16) as tensors:
        assert_type(tensors, TorchFile)
        assert_type(tensors["w"], torch.Tensor)
        assert_type(tensors.get_slice("w"), TensorSlice[torch.Tensor])
    assert_type(taut.load(path, device="cuda"), TorchFile)
    assert_type(taut.load_file(path), dict[str, np.ndarray])
    assert_type(taut.load_file(path, "cpu"), dict[str, torch.Tensor])
    assert_type(taut.load_file(path, framework="pt"), dict[str, torch.Tensor])
    assert_type(taut.info(path), Info)
    assert_type(taut.verify(b""), VerifyReport)
    assert_type(taut.evaluate(path, lambda net: 1.0, original=Net()), Evaluation)
