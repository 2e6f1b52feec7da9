"""A calibrated run that the machine has no room for is refused before it starts."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import taut
from taut.analysis.foretold import foretell
from taut.compression import room
from taut.compression.room import check_room
from taut.encoding.estimate import estimate_disk, estimate_memory
from taut.encoding.run_needs import DataShapes, run_needs
from taut.errors import ArgumentError
from taut.io import open_source
from taut.networks.kept_values import backward_bytes, entering_bytes


def language_model(layers: int, d: int, mlp: int, words: int) -> dict[str, tuple[int, int]]:
    shapes = {"q": (d, d), "k": (d, d), "v": (d, d), "o": (d, d)}
    shapes |= {"gate": (mlp, d), "up": (mlp, d), "down": (d, mlp)}
    blocks = {f"h.{i}.{name}": shape for i in range(layers) for name, shape in shapes.items()}
    return {"embed": (words, d), "head": (words, d), **blocks}


def test_what_a_7_b_model_takes_is_that_of_a_block_and_disk_for_its_forms() -> None:
    seven = language_model(32, 4096, 11_008, 32_000)
    half, few = (foretell(seven, narrow=True, tokens=count) for count in (65_536, 4096))
    assert half.memory < 6e9
    forms = 32 * 4 * (4 * 2 * 4096**2 + 3 * (4096**2 + 11_008**2)) + 2 * 4 * 4096**2
    hidden = 65_536 * 4096
    assert half.disk == pytest.approx(forms + 32 * 2 * hidden + 6 * 4 * hidden, rel=1e-3)
    assert few.disk < half.disk
    assert foretell(seven, narrow=False, tokens=65_536).memory < half.memory
    shallow = foretell(language_model(2, 4096, 11_008, 32_000), narrow=True, tokens=65_536)
    assert shallow.memory == half.memory  # the depth costs disk alone


def test_more_tokens_and_more_weights_take_more(tmp_path: Path) -> None:
    small, large = (
        open_source({f"h.{i}.w": np.zeros((side, side), np.float32) for i in range(2)})
        for side in (64, 512)
    )
    assert estimate_disk(small, 100, journal=False) == (0, 0)
    files, _ = estimate_disk(large, 10**7, journal=False)
    less, journal = estimate_disk(large, 10**7, journal=True)
    assert 0 < less <= files and journal > 4 * 4 * 512**2  # the forms of both sides of both
    told = [estimate_memory(one, calibrated=True, tokens=1000) for one in (small, large)]
    assert told[0] < told[1]


def test_too_little_memory_or_disk_is_told_with_what_would_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = open_source({f"h.{i}.w": np.zeros((512, 512), np.float32) for i in range(2)})
    check_room(source, DataShapes(1000), memory=1 << 40)
    with pytest.raises(ArgumentError, match=r"memory \(--memory\) allows 1 MB; allow \d"):
        check_room(source, DataShapes(1000), memory=1000)
    monkeypatch.setattr(
        room.psutil, "virtual_memory", lambda: SimpleNamespace(available=-(1 << 40))
    )
    with pytest.raises(ArgumentError, match="are free; run it on a machine with more, or leave"):
        check_room(source, DataShapes(1000))
    with pytest.raises(ArgumentError, match="is no folder"):
        check_room(source, DataShapes(1000), memory=1 << 40, scratch=tmp_path / "none")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(ArgumentError, match=r"temporary files, and .* name a larger folder"):
        check_room(source, DataShapes(10**7), memory=1 << 40, scratch=tmp_path)
    large = tmp_path / "large"
    large.mkdir()
    words = {"memory": 1 << 40, "scratch": large, "beside": tmp_path / "out"}
    with pytest.raises(ArgumentError, match=r"files and finished work, and .* a larger disk"):
        check_room(source, DataShapes(10**7), **words)
    monkeypatch.setattr(room, "_disk_of", str)
    monkeypatch.setattr(shutil, "disk_usage", lambda at: SimpleNamespace(free=(at == large) << 60))
    with pytest.raises(ArgumentError, match=r"of finished work, and .* a larger disk"):
        check_room(source, DataShapes(10**7), **words)
    monkeypatch.setattr(shutil, "disk_usage", lambda at: SimpleNamespace(free=(at != large) << 60))
    with pytest.raises(ArgumentError, match=r"of temporary files, and .* name a larger folder"):
        check_room(source, DataShapes(10**7), **words)


def test_nothing_is_done_or_written_by_a_run_that_is_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")

    class Counting(torch.nn.Linear):
        backwards = 0

    seen: list[Any] = []
    net = torch.nn.Sequential(Counting(64, 64), torch.nn.Linear(64, 4))
    batches = [torch.randn(8, 64) for _ in range(4)]
    with pytest.raises(ArgumentError, match="memory"):
        taut.compress(
            net, tmp_path / "x", bits=3, calib=batches, memory="1MB",
            progress=lambda *step: seen.append(step),
        )  # fmt: skip
    assert [*tmp_path.iterdir()] == [] and {stage for stage, *_ in seen} == {"open"}
    with pytest.raises(ArgumentError, match=r'memory \(--memory\): "much" is no size'):
        taut.compress(net, tmp_path / "x", bits=3, calib=batches, memory="much")


def test_an_onnx_model_is_held_to_the_memory_allowed(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    weight = onnx.numpy_helper.from_array(
        np.random.default_rng(0).standard_normal((64, 32), np.float32), "w"
    )
    x, y = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", width])
        for name, width in (("x", 64), ("y", 32))
    )
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = onnx.helper.make_graph([node], "g", [x], [y], [weight])
    onnx.save(onnx.helper.make_model(graph, ir_version=9), tmp_path / "net.onnx")
    data = [{"x": np.ones((8, 64), np.float32)} for _ in range(4)]
    with pytest.raises(ArgumentError, match=r"memory \(--memory\) allows 1 MB"):
        taut.compress(tmp_path / "net.onnx", tmp_path / "x", bits=3, calib=data, memory="1MB")


def test_a_small_network_is_not_foretold_a_large_head() -> None:
    """Where data are not open yet, what is run at once is a usual batch, and not 128 MB of it."""
    shapes = {"a": (300, 784), "b": (10, 300)}
    assert run_needs(shapes, DataShapes(0, journal=True), narrow=False).memory < 100_000_000


def test_values_that_wait_for_their_blocks_count_with_all_batches() -> None:
    torch = pytest.importorskip("torch")
    blocks = [torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.ReLU()) for _ in range(3)]
    net = torch.nn.Sequential(torch.nn.Linear(8, 16), *blocks, torch.nn.Linear(16, 4))
    whole, widest = entering_bytes(net, torch.randn(5, 8))
    assert whole >= 3 * widest and widest == 4 * 16
    assert entering_bytes(torch.nn.Linear(8, 4), torch.randn(5, 8)) == (0, 0)
    few = DataShapes(100, 10, 1, kept=10_000_000)
    many = dataclasses.replace(few, entering=50_000_000, handed=30_000_000)
    shapes = {"a": (64, 64)}
    more = (
        run_needs(shapes, many, narrow=False).memory - run_needs(shapes, few, narrow=False).memory
    )
    assert more == 80_000_000


def test_what_a_batch_keeps_grows_with_its_samples_alone() -> None:
    torch = pytest.importorskip("torch")
    net = torch.nn.LSTM(8, 16, batch_first=True).eval()
    one, many = (backward_bytes(net, torch.randn(count, 20, 8)) for count in (2, 64))
    assert 0 < one < many < 64 * one
    assert backward_bytes(net, torch.randn(8, 20, 8), 8.0) == many
