"""What was GGUF comes back byte for byte; its tensors load as the numbers that they stand for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.forge_gguf import Forged, blob, small_model
from tests.io.test_gguf import split_model

import taut
from taut.errors import ArgumentError
from taut.io.gguf import GgufFile
from taut.io.gguf_header import GgufTensor


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, Path]:
    """A GGUF file, and the Taut file made of it."""
    source, path = tmp_path / "m.gguf", tmp_path / "m.taut.safetensors"
    source.write_bytes(small_model().data() + b"something behind")
    result = taut.compress(source, path)
    assert path.stat().st_size < 0.95 * source.stat().st_size and result.path == path
    return source, path


def test_the_file_comes_back(made: tuple[Path, Path], tmp_path: Path) -> None:
    source, path = made
    taut.verify(path)
    restored = taut.decompress(path, tmp_path / "back.gguf")
    assert restored.notes == ()
    assert (tmp_path / "back.gguf").read_bytes() == source.read_bytes()
    assert restored.bytes == source.stat().st_size
    info = taut.info(path)
    assert info.parameters == 90 * 128 + 128 + 2 * 96 * 128 + 40 * 128


def test_padding_that_is_not_zero_and_an_odd_order_come_back(tmp_path: Path) -> None:
    first, second = blob("a", "Q4_0", 64, 64), blob("b", "Q8_0", 64, 64, 1)
    # The header lists the second before the first.
    padded = -(-len(first.data) // 32) * 32
    odd = Forged(
        [
            type(second)("b", second.dims, second.kind, first.data, padded),
            type(first)("a", first.dims, first.kind, second.data, 0),
        ],
        padding=b"\xaa",
    )
    (tmp_path / "odd.gguf").write_bytes(odd.data())
    taut.compress(tmp_path / "odd.gguf", tmp_path / "o.taut.safetensors")
    taut.decompress(tmp_path / "o.taut.safetensors", tmp_path / "back.gguf")
    assert (tmp_path / "back.gguf").read_bytes() == odd.data()


def test_a_split_model_comes_back_as_its_files(tmp_path: Path) -> None:
    paths = split_model(tmp_path)
    path = tmp_path / "net.taut.safetensors"
    taut.compress(paths[1], path)
    with pytest.raises(ArgumentError, match=r"becomes 3 files .*name a folder"):
        taut.decompress(path, tmp_path / "back.gguf")
    restored = taut.decompress(path, tmp_path / "back")
    assert [one.name for one in restored.files] == [one.name for one in paths]
    for one in paths:
        assert (tmp_path / "back" / one.name).read_bytes() == one.read_bytes()


def test_tensors_load_as_numbers_and_as_blocks(made: tuple[Path, Path]) -> None:
    pytest.importorskip("gguf")
    model = taut.load(made[1])
    assert list(model) == [one.name for one in small_model().tensors]
    embedding = model["token_embd.weight"]
    parts = model.blocks("token_embd.weight").reshape(90, 4, 34)
    scales = np.ascontiguousarray(parts[..., :2]).view("<f2").astype(np.float32)
    assert embedding.shape == (90, 128) and embedding.dtype == np.float32
    assert (embedding.reshape(90, 4, 32) == scales * parts[..., 2:].view(np.int8)).all()
    assert model["output.weight"].dtype == np.float16
    assert model.types["blk.0.ffn_down.weight"] == "Q4_1"
    assert {i.name: i.shape for i in model.infos} == {
        n: v.shape for n, v in model.load_all().items()
    }
    with pytest.raises(ArgumentError, match=r"no tensor .*nearest"):
        model["token_embd.wait"]


def test_torch_gets_the_numbers(made: tuple[Path, Path]) -> None:
    torch, _ = pytest.importorskip("torch"), pytest.importorskip("gguf")
    found = taut.load(made[1], framework="torch")["blk.0.ffn_up.weight"]
    assert found.dtype == torch.float32 and tuple(found.shape) == (96, 128)


@pytest.mark.parametrize("name", ["back.safetensors", "back.pt", "back.onnx"])
def test_another_format_is_refused(name: str, made: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"\.gguf|\.safetensors"):
        taut.decompress(made[1], tmp_path / name)
    assert not (tmp_path / name).exists()


def test_gguf_of_what_was_none_is_told_of_export(tmp_path: Path) -> None:
    path = tmp_path / "a.taut.safetensors"
    taut.compress({"w": np.zeros((9, 9), np.float32)}, path)
    with pytest.raises(ArgumentError, match="taut export"):
        taut.decompress(path, tmp_path / "a.gguf")


def test_what_is_there_is_not_written_over(made: tuple[Path, Path]) -> None:
    source, path = made
    before = source.read_bytes()
    with pytest.raises(ArgumentError, match="exists"):
        taut.decompress(path, source)
    assert source.read_bytes() == before
    with pytest.raises(ArgumentError, match=r"name it n\.taut\.safetensors"):
        taut.compress(source, source.with_name("n.gguf"))


def test_a_lossy_file_gives_gguf_of_floats_with_all_metadata(
    made: tuple[Path, Path], tmp_path: Path
) -> None:
    gguf = pytest.importorskip("gguf")
    path, back = tmp_path / "l.taut.safetensors", tmp_path / "l.gguf"
    result = taut.compress(made[0], path, bits=3)
    assert any("1 of Q8_0" in note for note in result.notes)
    (note,) = taut.decompress(path, back).notes
    times = back.stat().st_size / made[0].stat().st_size
    assert note.startswith(f"{times:.1f}x the size of the original") and path.name in note
    first, second = gguf.GGUFReader(made[0]), gguf.GGUFReader(back)
    raw = "x.scores", "x.yes", "x.double", "x.nested", "general.architecture"
    for key in raw:
        parts = [[part.tobytes() for part in one.fields[key].parts] for one in (first, second)]
        assert parts[0] == parts[1]
    assert second.fields["general.file_type"].parts[-1][0] == 0
    assert {one.tensor_type.name for one in second.tensors} == {"F32", "F16"}
    original, exact = taut.load(made[1]), taut.load(path)
    for one in second.tensors:
        assert (exact[one.name] == one.data).all()
        error = np.square(exact[one.name] - original[one.name], dtype=np.float64).sum()
        assert error < 0.1 * np.square(original[one.name], dtype=np.float64).sum()


def test_version_1_is_not_rounded(tmp_path: Path) -> None:
    path = tmp_path / "old.gguf"
    path.write_bytes(Forged([blob("w", "Q4_0", 64, 64)], (), 1).data())
    with pytest.raises(ArgumentError, match="version 1"):
        taut.compress(path, tmp_path / "l.taut.safetensors", bits=3)
    assert [one.name for one in tmp_path.iterdir()] == ["old.gguf"]


def test_large_tensors_are_coded_in_pieces_to_the_same_bytes(
    made: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []
    read = GgufFile.read

    def counting(self: GgufFile, tensor: GgufTensor, begin: int, end: int) -> np.ndarray:
        held.append(end - begin)
        return read(self, tensor, begin, end)

    monkeypatch.setattr("taut.encoding.in_pieces.LARGE", 1000)
    monkeypatch.setattr("taut.encoding.in_pieces.PIECE", 1000)
    monkeypatch.setattr(GgufFile, "read", counting)
    source = tmp_path / "large.gguf"
    source.write_bytes(Forged([blob("w", "Q8_0", 5000, 128)]).data())
    taut.compress(source, tmp_path / "pieces.taut.safetensors")
    assert max(held) < 600_000
    monkeypatch.undo()
    taut.compress(source, tmp_path / "whole.taut.safetensors")
    pieces, whole = (tmp_path / f"{name}.taut.safetensors" for name in ("pieces", "whole"))
    assert pieces.read_bytes() == whole.read_bytes()


def test_a_folder_of_gguf_says_to_name_the_file(made: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    made[0].rename(folder / "m.gguf")
    with pytest.raises(ArgumentError, match=r"name the file: m\.gguf"):
        taut.compress(folder, tmp_path / "out")
