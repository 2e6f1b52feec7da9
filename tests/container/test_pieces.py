"""Tensors that are not held whole: the same files, the same values, the same errors."""

import sys
import tracemalloc
from importlib import import_module
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

import taut
from taut.container import TautFile, read
from taut.encoding import grid_pieces, in_pieces, masked_pieces, rounded_pieces, step_pieces
from taut.encoding import ways_in_pieces as ways
from taut.encoding.tensor import Coded, encode_tensor
from taut.errors import ArgumentError, VerifyError
from taut.io import TensorInfo
from taut.io import tensor_pieces as pieces
from taut.scheme import Scheme

LARGE, PIECE = 1 << 16, 1 << 15


@pytest.fixture
def file(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Coded in several chunks, kept, constant, equal, packed, and small tensors."""
    codes = np.clip(np.rint(rng.normal(8, 2, (700, 1024))), 0, 15).astype(np.uint8)
    weight = (rng.standard_normal((1200, 512)) / 50).astype(np.float32)
    model = {
        "a": weight,
        "half": weight.astype(ml_dtypes.bfloat16),
        "noise": rng.integers(0, 256, (400, 999), dtype=np.uint8),
        "z_same": weight.copy(),
        "zeros": np.zeros((300, 300), np.float32),
        "alone": np.zeros((300, 300), np.float32),
        "bias": weight[0],
        "words": (codes[:, ::2] | codes[:, 1::2] << 4).view(np.int32),
        "bytes": np.rint(rng.normal(0, 20, (299, 601))).astype(np.int8),
    }
    model["alone"][299] = weight[1, :300]  # so few bytes that it goes into a pack
    path = tmp_path / "net.safetensors"
    save_file(model, path)
    return path


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    make_small(monkeypatch)


def make_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have tensors of 64 KiB be large, and 32 KiB a piece of them."""
    for module in (grid_pieces, step_pieces):
        monkeypatch.setattr(module, "_INDICES", LARGE)
    for module in (
        in_pieces,
        masked_pieces,
        rounded_pieces,
        ways,
        read,
        sys.modules["taut.container.verify"],
        pieces,
    ):
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


@pytest.mark.parametrize("bits", [2.5, 9])
def test_a_rounded_file_is_the_same(
    tmp_path: Path,
    request: pytest.FixtureRequest,
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
    bits: float,
) -> None:
    # Several blocks of rows; no tensor is so small that it goes into a pack.
    monkeypatch.setattr(sys.modules["taut.transform.quantize"], "_BLOCK", 1 << 14)
    weight = (rng.standard_normal((140, 128)) / 50).astype(ml_dtypes.bfloat16)
    model = {
        "large": weight,
        "same": weight.copy(),
        "cube": (rng.standard_normal((50, 20, 20)) / 9).astype(np.float32),
        "zeros": np.zeros((140, 140), np.float32),
        "bias": rng.standard_normal(512).astype(np.float32),
    }
    path = tmp_path / "net.safetensors"
    save_file(model, path)
    taut.compress(path, tmp_path / "whole", bits=bits)
    request.getfixturevalue("small_pieces")
    taut.compress(path, tmp_path / "pieces", bits=bits)
    assert (tmp_path / "pieces").read_bytes() == (tmp_path / "whole").read_bytes()


SCHEMES = (
    *("int8", "int8,tensor", "int4", "int4:g32", "int4:g32,asym", "int3", "int2", "fp8", "nvfp4"),
    *("mxfp4", "ternary", "binary", "codebook16", "fp16", "30%", "2:4", "50%+fp16", "80%+int4"),
    *("60%+binary", "2:4+codebook8", "90%+rd", "rd", "rd:3", "2:4+rd:2", "rd:9.9"),
)


def large_model(rng: np.random.Generator) -> dict[str, np.ndarray]:
    wide = rng.standard_normal((260, 192)) * np.exp(rng.uniform(-2, 2, (260, 1))) / 50
    wide[3], wide[4, :96] = 0, 0.25  # a row of nothing, and scores that are equal
    return {
        "single": wide.astype(np.float32),
        "half": wide[:, :160].astype(ml_dtypes.bfloat16),
        "kernels": rng.standard_normal((128, 64, 3, 2)).astype(np.float32),
        "zeros": np.zeros((150, 128), np.float32),
        "same": wide.astype(np.float32),
        "double": wide[:90, :96],
    }


HARD = ("int8", "int4:g32,asym", "nvfp4", "80%+int4", "2:4+codebook8", "rd:3")


@pytest.mark.parametrize(("effort", "schemes"), [("fast", SCHEMES), ("max", HARD)])
def test_every_scheme_gives_the_same_file_in_pieces(
    tmp_path: Path,
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
    effort: str,
    schemes: tuple[str, ...],
) -> None:
    monkeypatch.setattr(sys.modules["taut.transform.quantize"], "_BLOCK", 1 << 13)
    monkeypatch.setattr(sys.modules["taut.transform.runtime"], "BLOCK", 5000)
    monkeypatch.setattr(sys.modules["taut.transform.codebook"], "_MANY", 1000)
    model = large_model(rng)
    save_file(model, tmp_path / "net.safetensors")
    for scheme in schemes:
        names = [name for name in model if "rd" not in scheme or name != "zeros"]
        plan = dict.fromkeys(names[:2] if scheme == "2:4" else names, scheme)
        size = "3x" if scheme in ("rd", "90%+rd") else None
        whole, cut = tmp_path / "whole", tmp_path / "cut"
        asked = {"effort": effort, "plan": plan, "size": size, "force": True}
        taut.compress(tmp_path / "net.safetensors", whole, **asked)
        with pytest.MonkeyPatch.context() as patch:
            make_small(patch)
            # Nothing that is large goes the way of what is held.
            patch.setattr(sys.modules["taut.encoding.model"], "encode_tensor", held_if_small)
            taut.compress(tmp_path / "net.safetensors", cut, **asked)
        assert cut.read_bytes() == whole.read_bytes(), scheme


def held_if_small(info: TensorInfo, values: np.ndarray, scheme: Scheme, **how: object) -> Coded:
    assert info.nbytes <= LARGE, info.name
    return encode_tensor(info, values, scheme, **how)


@pytest.mark.parametrize("scheme", ["50%", "2:4+fp16"])
def test_a_large_tensor_is_not_held(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    """What Python and numpy hold at a time is a small part of the tensor."""
    values = rng.standard_normal((4096, 1024)).astype(np.float32)
    save_file({"w": values}, tmp_path / "net.safetensors")
    save_file({"w": values[:100]}, tmp_path / "few.safetensors")
    make_small(monkeypatch)
    for module in ("encoding.tensor", "encoding.exact_only", "transform.quantize"):
        monkeypatch.setattr(import_module(f"taut.{module}"), "_BLOCK", 1 << 14)
    monkeypatch.setattr(sys.modules["taut.encoding.large_tensor"], "BLOCK", 1 << 14)

    def there_and_back(name: str) -> None:
        out, plan = tmp_path / "small", {"w": scheme}
        taut.compress(tmp_path / name, out, plan=plan, effort="fast", force=True)
        taut.verify(out)
        taut.decompress(out, tmp_path / "back.safetensors", force=True)

    there_and_back("few.safetensors")  # imports what it takes
    tracemalloc.start()
    try:
        there_and_back("net.safetensors")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < values.nbytes / 2


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("scheme", ["int4", "fp16", "50%", "rd:3"])
def test_what_cannot_be_rounded_is_named_with_its_place(
    tmp_path: Path, rng: np.random.Generator, scheme: str
) -> None:
    values = rng.standard_normal((300, 200)).astype(np.float32)
    values[299, 7] = np.inf
    save_file({"w": values}, tmp_path / "net.safetensors")
    with pytest.raises(ArgumentError, match=r'tensor "w" has the value inf at \[299, 7\]'):
        taut.compress(tmp_path / "net.safetensors", tmp_path / "small", plan={"w": scheme})
    assert not (tmp_path / "small").exists()


@pytest.mark.usefixtures("small_pieces")
def test_a_value_that_is_not_finite_is_held_exact_in_pieces(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    model = {name: rng.standard_normal((300, 200)).astype(np.float32) for name in "ab"}
    model["b"][299, 199] = np.nan
    save_file(model, tmp_path / "net.safetensors")
    result = taut.compress(tmp_path / "net.safetensors", tmp_path / "small", size="1.5x")
    assert any('"b": 1 of its values is NaN' in note for note in result.notes)
    assert taut.load(tmp_path / "small")["b"].tobytes() == model["b"].tobytes()


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
        cut = np.concatenate(list(pieces.pieces_of(source, info)))
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


@pytest.mark.usefixtures("small_pieces")
def test_a_header_that_claims_too_many_rows_is_decoded_at_once(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taut.compress(file, tmp_path / "small")
    opened = TautFile(tmp_path / "small")
    place = opened.contents.places["a"]
    assert opened.fetcher.ranges(place, PIECE) is not None
    for name in ("_ROWS", "_MOST_TIMES"):
        with monkeypatch.context() as patch:
            patch.setattr(sys.modules["taut.container.fetch"], name, 0)
            assert opened.fetcher.ranges(place, PIECE) is None
            assert opened["a"].tobytes() == taut.io.open_source(file).load("a").tobytes()
