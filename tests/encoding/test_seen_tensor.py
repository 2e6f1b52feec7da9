"""Large tensors are looked at in pieces, and the same is told of them."""

import tracemalloc

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

import taut
from taut.analysis.statistics import describe, describe_pieces
from taut.encoding import facts, seen_tensor
from taut.encoding.seen_tensor import SeenTensor
from taut.io import open_source, tensor_pieces


@pytest.fixture
def model(tmp_path):
    rng = np.random.default_rng(0)
    weight = (rng.standard_normal((300, 256)) / 50).astype(np.float32)
    odd = weight.copy()
    odd[7, 9], odd[250, 3] = np.nan, -np.inf
    tensors = {
        "weight": weight,
        "half": weight.astype(ml_dtypes.bfloat16),
        "odd": odd,
        "same": weight.copy(),
        "vector": rng.standard_normal(70_000).astype(np.float32),
        "beyond": rng.standard_normal(70_000) * 1e300,
        "double": rng.standard_normal((150, 200)),
        "kernels": rng.standard_normal((128, 64, 3, 2)).astype(np.float16),
        "ids": rng.integers(0, 99, (300, 300)),
        "complex": (rng.standard_normal((90, 200)) * (1 + 2j)).astype(np.complex64),
        "zeros": np.zeros((300, 300), np.float32),
        "bias": weight[0],
    }
    path = tmp_path / "net.safetensors"
    save_file(tensors, path)
    return path


def make_small(monkeypatch):
    monkeypatch.setattr(seen_tensor, "LARGE", 1 << 16)
    monkeypatch.setattr(tensor_pieces.pieces_of, "__defaults__", (1 << 15,))


def test_the_report_is_the_same_in_pieces(model, monkeypatch):
    monkeypatch.setattr(facts, "_ROWS", 1 << 13)
    whole = taut.analyze(model)
    make_small(monkeypatch)
    assert taut.analyze(model).tensors == whole.tensors
    found = {one.name: one for one in whole.tensors}
    assert found["weight"].equal == "same" and found["odd"].distribution.nans == 1
    assert set(found["vector"].predictions) == {"fp16"} and not found["beyond"].predictions
    assert len(found["half"].predictions) == len(whole.schemes) > 3


def test_a_large_tensor_is_not_held_to_be_described(tmp_path, monkeypatch):
    values = np.random.default_rng(0).standard_normal((4096, 1024)).astype(np.float32)
    save_file({"w": values}, tmp_path / "net.safetensors")
    source = open_source(tmp_path / "net.safetensors")
    make_small(monkeypatch)
    tracemalloc.start()
    try:
        seen = SeenTensor.of(source, source.infos[0])
        told = (seen.digest, describe_pieces(seen.pieces), seen.picks, seen.rows(1 << 14))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert told[1] == describe(values) and peak < values.nbytes / 4
