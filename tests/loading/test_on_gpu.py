"""Tensors decoded on a device: what is decoded there, and what is said where nothing is."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import taut
from taut.errors import FormatError, VerifyError
from taut.loading import on_gpu
from taut.loading.arrays import TorchFile

torch = pytest.importorskip("torch")
CUDA = torch.device("cuda")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path / "m.taut.safetensors"
    large = rng.standard_normal((8, 5000)).astype(np.float32)
    taut.compress({"large": large, "kept": large[:, 0].copy(), "small": large[:2, :300]}, path)
    return path


def test_other_devices_say_nothing(model: Path, recwarn: pytest.WarningsRecorder) -> None:
    file = taut.load(model)
    assert on_gpu.gpu_tensors(file, None) is None
    assert on_gpu.gpu_tensors(file, torch.device("cpu")) is None
    assert not recwarn.list


def test_a_gpu_without_triton_is_told_how_to_have_it(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.warns(UserWarning, match=r"on the CPU.*pip install 'taut\[gpu\]'"):
        assert on_gpu.gpu_tensors(taut.load(model), CUDA) is None
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.warns(UserWarning, match="on the CPU.*triton is not installed$"):
        assert on_gpu.gpu_tensors(taut.load(model), CUDA) is None


class _Interpreted:
    """Stands for the room of kernels: the CPU's decoder, which refuses one array by its number."""

    def __init__(self, refused: int | None = None, broken: bool = False) -> None:
        self.refused, self.broken, self.sizes = refused, broken, list[int]()

    def decode(self, jobs: list[tuple[bytes, list[bytes], int]]) -> list[object]:
        from taut.coding import Job, decode

        if self.broken:
            raise RuntimeError("no C compiler\nat all")
        found: list[object] = []
        for number, (header, chunks, nbytes) in enumerate(jobs):
            out = np.empty(nbytes, np.uint8)
            self.sizes.append(nbytes)
            decode([Job(header, chunks, out)])
            found.append(None if number == self.refused else torch.from_numpy(out))
        return found


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> _Interpreted:
    """A room of kernels without Triton."""
    decoder = _Interpreted()
    room = ModuleType("taut.coding.gpu")
    room.GpuJob = lambda header, chunks, nbytes: (header, chunks, nbytes)  # type: ignore[attr-defined]

    class Batch:
        def __init__(self, jobs: list[tuple[bytes, list[bytes], int]], device: object) -> None:
            self.jobs = jobs

        def decode(self) -> list[object]:
            return decoder.decode(self.jobs)

    room.GpuBatch = Batch  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "taut.coding.gpu", room)
    return decoder


def opened(path: Path) -> TorchFile:
    """A file of torch's tensors that decodes as if the CPU were a GPU."""
    file = taut.load(path, framework="pt")
    file._gpu = on_gpu.GpuTensors(file.file, torch.device("cpu"))
    return file


def test_large_tensors_are_decoded_there_and_the_others_beside(
    model: Path, stand_in: _Interpreted
) -> None:
    expected, file = taut.load(model), opened(model)
    found = file.load_all()
    assert list(found) == list(expected)
    assert all(found[name].numpy().tobytes() == expected[name].tobytes() for name in expected)
    assert stand_in.sizes == [160_000]
    assert file["large"].shape == (8, 5000) and file["large"].dtype == torch.float32
    with pytest.raises(KeyError):
        file["larg"]


@pytest.mark.parametrize("broken", [False, True])
def test_what_is_refused_there_comes_from_the_cpu(
    model: Path, stand_in: _Interpreted, broken: bool, recwarn: pytest.WarningsRecorder
) -> None:
    stand_in.refused, stand_in.broken = 0, broken
    file, expected = opened(model), taut.load(model)["large"]
    assert file.load_all()["large"].numpy().tobytes() == expected.tobytes()
    assert file["large"].numpy().tobytes() == expected.tobytes()
    told = [str(one.message) for one in recwarn.list]
    assert told == (
        ["device: decoded on the CPU, then copied: RuntimeError: no C compiler"] * broken
    )


def test_damage_is_found_before_it_goes_there(model: Path, stand_in: _Interpreted) -> None:
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    with pytest.raises((VerifyError, FormatError), match='"large"'):
        opened(model).load_all()
    assert stand_in.sizes == []
