"""Tensors that are not held whole: the same files, the same values, the same errors."""

import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

import taut
from taut.container import TautFile, read
from taut.encoding import in_pieces
from taut.errors import VerifyError
from taut.io import tensor_pieces as pieces

LARGE, PIECE = 1 << 16, 1 << 15


@pytest.fixture
def file(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Coded in several chunks, kept, constant, equal, and small tensors."""
    weight = (rng.standard_normal((1200, 512)) / 50).astype(np.float32)
    model = {
        "a": weight,
        "half": weight.astype(ml_dtypes.bfloat16),
        "noise": rng.integers(0, 256, (400, 999), dtype=np.uint8),
        "z_same": weight.copy(),
        "zeros": np.zeros((300, 300), np.float32),
        "bias": weight[0],
    }
    path = tmp_path / "net.safetensors"
    save_file(model, path)
    return path


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (in_pieces, read, sys.modules["taut.container.verify"], pieces):
        for name, value in (("LARGE", LARGE), ("PIECE", PIECE)):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(pieces.pieces_of, "__defaults__", (PIECE,))
    monkeypatch.setattr(TautFile.pieces, "__defaults__", (PIECE,))


@pytest.mark.parametrize("plan", [None, {"a": "keep", "half": "keep"}])
@pytest.mark.parametrize("effort", ["fast", "max"])
def test_the_file_is_the_same(
    file: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    effort: str,
    plan: dict[str, str] | None,
) -> None:
    taut.compress(file, tmp_path / "whole", effort=effort, plan=plan)
    request.getfixturevalue("small_pieces")
    taut.compress(file, tmp_path / "pieces", effort=effort, plan=plan)
    assert (tmp_path / "pieces").read_bytes() == (tmp_path / "whole").read_bytes()


@pytest.mark.usefixtures("small_pieces")
def test_all_ways_of_reading_give_the_values(file: Path, tmp_path: Path) -> None:
    taut.compress(file, tmp_path / "small")
    source, opened = taut.io.open_source(file), taut.load(tmp_path / "small")
    for info in source.infos:
        values = source.load(info.name)
        assert b"".join(p.tobytes() for p in opened.pieces(info.name)) == values.tobytes()
        into = np.empty_like(values)
        opened.read_into(info.name, into)
        assert opened[info.name].tobytes() == into.tobytes() == values.tobytes()
        cut = np.concatenate(list(pieces.pieces_of(source, info.name)))
        assert cut.tobytes() == values.tobytes()
    assert taut.verify(tmp_path / "small").decoded == taut.verify(tmp_path / "small").decoded > 0
    taut.decompress(tmp_path / "small", tmp_path / "back.safetensors")
    assert (tmp_path / "back.safetensors").read_bytes() == file.read_bytes()


def test_a_half_is_cast_piece_by_piece(file: Path, tmp_path: Path) -> None:
    taut.compress(file, tmp_path / "small", plan={"a": "fp16"})
    opened = taut.load(tmp_path / "small")
    parts = list(opened.pieces("a", PIECE))
    assert len(parts) > 1
    assert np.concatenate(parts).tobytes() == opened["a"].tobytes()


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("name", ["a", "noise"])
def test_damage_is_named_as_ever(file: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / "small"
    taut.compress(file, path)
    place = TautFile(path).contents.places[name]
    data = bytearray(path.read_bytes())
    data[place.entry.stop - 100] ^= 1
    path.write_bytes(data)
    opened = TautFile(path)
    for use in (lambda: list(opened.pieces(name)), lambda: opened[name], lambda: taut.verify(path)):
        with pytest.raises(VerifyError, match=f'tensor "{name}"') as caught:
            use()
        assert caught.value.tensor == name
    with pytest.raises(VerifyError):
        taut.decompress(path, tmp_path / "back.safetensors")
    assert not (tmp_path / "back.safetensors").exists()
