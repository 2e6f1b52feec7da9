"""What lies in a file is read from one value to another, and not held: the values of the whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file
from tests.forge_gguf import small_model

from taut.errors import VerifyError
from taut.io import Source, open_source
from taut.io.gguf import open_gguf
from taut.io.gguf_floats import gguf_as_floats
from taut.io.tensor_pieces import file_reader

MODEL = {
    "single": np.arange(600, dtype=np.float32).reshape(20, 30),
    "half": (np.arange(77) / 7).astype(np.float16).reshape(7, 11),
    "codes": np.arange(90, dtype=np.int8).reshape(9, 10),
    "one": np.float64(3).reshape(()),
}


def as_safetensors(folder: Path) -> Source:
    save_file(
        {name: np.ascontiguousarray(v) for name, v in MODEL.items()}, folder / "m.safetensors"
    )
    return open_source(folder / "m.safetensors")


def as_checkpoint(folder: Path) -> Source:
    torch = pytest.importorskip("torch")
    state = {name: torch.from_numpy(np.array(values)) for name, values in MODEL.items()}
    state["brain"] = torch.arange(40, dtype=torch.bfloat16).reshape(4, 10)
    state["turned"] = state["single"].T  # lies not in order, and is held
    torch.save(state, folder / "m.pt")
    return open_source(folder / "m.pt")


def as_onnx(folder: Path, *, outside: bool = False) -> Source:
    onnx = pytest.importorskip("onnx")
    tensors = [onnx.numpy_helper.from_array(v, name) for name, v in MODEL.items()]
    listed = onnx.helper.make_tensor("listed", 1, [3, 7], np.arange(21, dtype=np.float32))
    graph = onnx.helper.make_graph([], "g", [], [], initializer=[*tensors, listed])
    model = onnx.helper.make_model(graph)
    onnx.save_model(
        model, folder / "m.onnx", save_as_external_data=outside, location="m.bin", size_threshold=64
    )
    return open_source(folder / "m.onnx")


def as_onnx_outside(folder: Path) -> Source:
    return as_onnx(folder, outside=True)


def as_gguf(folder: Path) -> Source:
    (folder / "m.gguf").write_bytes(small_model().data())
    return open_gguf(folder / "m.gguf")


def as_gguf_floats(folder: Path) -> Source:
    (folder / "m.gguf").write_bytes(small_model().data())
    return gguf_as_floats(open_gguf(folder / "m.gguf"))


WAYS = (as_safetensors, as_checkpoint, as_onnx, as_onnx_outside, as_gguf, as_gguf_floats)


@pytest.mark.parametrize("make", WAYS, ids=lambda make: make.__name__)
def test_the_parts_are_those_of_the_whole(tmp_path: Path, make: Callable[[Path], Source]) -> None:
    source = make(tmp_path)
    read_in_parts = set()
    for info in source.infos:
        read = file_reader(source, info.name)
        if read is None:
            continue
        read_in_parts.add(info.name)
        whole = source.load(info.name).reshape(-1)
        for begin, end in ((0, whole.size), (0, 1), (whole.size // 3, whole.size // 2 + 1)):
            part = read(begin, end)
            assert part.dtype == whole.dtype
            assert part.tobytes() == whole[begin:end].tobytes(), (info.name, begin, end)
    held = {info.name for info in source.infos} - read_in_parts
    assert held <= {"turned", "onnx.graph", "gguf.frame"}, held
    assert len(read_in_parts) >= 4


def test_a_checkpoint_that_is_cut_short_is_an_error_and_no_signal(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"w": torch.arange(1 << 16, dtype=torch.float32)}, tmp_path / "m.pt")
    source = open_source(tmp_path / "m.pt")
    read = file_reader(source, "w")
    assert read is not None
    assert read(5, 7).tolist() == [5.0, 6.0]
    with (tmp_path / "m.pt").open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(VerifyError, match="changed while it was read"):
        read(1 << 15, 1 << 16)


def test_bfloat16_keeps_its_bits(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    values = torch.arange(1 << 8, dtype=torch.int16).view(torch.bfloat16)
    torch.save({"w": values}, tmp_path / "m.pt")
    read = file_reader(open_source(tmp_path / "m.pt"), "w")
    assert read is not None
    part = read(3, 200)
    assert part.dtype == ml_dtypes.bfloat16
    assert part.view(np.int16).tolist() == list(range(3, 200))
