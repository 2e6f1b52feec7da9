"""Deltas of tensors that are not held whole: the same files, values and errors."""

import sys
import tracemalloc
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tests.container.test_pieces import LARGE, PIECE, make_small
from tests.container.test_pieces import held_if_small as encoded_if_small

import taut
from taut.encoding import add_on_base, choose_coder, decoded_sums, delta_pieces, on_base
from taut.errors import VerifyError


def models(rng: np.random.Generator) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """A base, and what was made of it: large tensors of every way to stand on it."""
    weight = (rng.standard_normal((300, 256)) / 50).astype(np.float32)
    half = weight.astype(ml_dtypes.bfloat16)
    codes = np.rint(rng.normal(0, 20, (1200, 901))).astype(np.int8)
    noise = rng.integers(0, 256, (400, 300), dtype=np.uint8)
    base = {
        "moved": weight,
        "half": half,
        "same": weight[::-1].copy(),
        "one": weight[:, ::-1].copy(),
        "codes": codes,
        "noise": noise,
        "old": weight * np.float32(3),
        "zeros": np.zeros((150, 300), np.float32),
        "bias": weight[0],
    }
    moved = weight + np.float32(1e-4) * rng.standard_normal(weight.shape).astype(np.float32)
    words = half.view(np.uint16).copy()
    words[::7, ::3] += 1
    one = base["one"].copy()
    one[200, 17] += 1  # so few bytes that it goes into a pack
    more = codes.copy()
    more[:, ::7] += 1  # two chunks
    fine = {
        **base,
        "moved": moved,
        "half": words.view(ml_dtypes.bfloat16),
        "one": one,
        "codes": more,
        "noise": rng.integers(0, 256, (400, 300), dtype=np.uint8),  # takes less alone
        "zeros": np.ones((150, 300), np.float32),
        "bias": moved[0],
        "new": rng.standard_normal((300, 200)).astype(np.float32),
    }
    fine["renamed"] = fine.pop("old")
    return base, fine


def small(monkeypatch: pytest.MonkeyPatch) -> None:
    make_small(monkeypatch)
    for module in (delta_pieces, on_base, sys.modules["taut.container.bases"]):
        for name, value in (("LARGE", LARGE), ("PIECE", PIECE)):
            monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(sys.modules["taut.container.bases"].Bases.pieces, "__defaults__", (PIECE,))


@pytest.fixture
def files(tmp_path: Path, rng: np.random.Generator) -> Path:
    base, fine = models(rng)
    save_file(base, tmp_path / "base.safetensors")
    save_file(fine, tmp_path / "fine.safetensors")
    return tmp_path


def make(folder: Path, name: str, base: str = "base.safetensors", **asked: object) -> Path:
    out = folder / f"{name}.taut.safetensors"
    taut.compress(folder / "fine.safetensors", out, base=folder / base, force=True, **asked)
    return out


def check(path: Path, base: Path, expected: dict[str, np.ndarray]) -> None:
    """Every way of reading gives the values."""
    opened = taut.load(path, base=base)
    for name, values in expected.items():
        assert b"".join(p.tobytes() for p in opened.pieces(name)) == values.tobytes(), name
        assert opened[name].tobytes() == values.tobytes(), name
        into = np.empty_like(values)
        opened.read_into(name, into)
        assert into.tobytes() == values.tobytes(), name
        begin, end = values.size // 3, values.size // 3 + 5000
        assert opened.span(name, begin, end).tobytes() == values.reshape(-1)[begin:end].tobytes()
    assert taut.verify(path, base=base)


def test_the_delta_is_the_same_and_so_is_what_it_gives_back(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, base = load_file(files / "fine.safetensors"), files / "base.safetensors"
    whole = make(files, "whole").read_bytes()
    stores = {
        r.name: (r.store, r.base) for r in taut.load(files / "whole.taut.safetensors").index.records
    }
    assert stores["one"] == ("packed", "delta") and stores["moved"] == ("coded", "delta")
    assert stores["renamed"] == stores["same"] == ("base", "")
    taut.compress(base, files / "coded")
    small(monkeypatch)
    # Nothing that is large goes the way of what is held.
    monkeypatch.setattr(add_on_base, "_HeldOnBase", held_if_small)
    assert make(files, "cut").read_bytes() == whole
    # The base may be a Taut file, in which some tensors are kept, packed, or constant.
    make(files, "on", base="coded")
    check(files / "cut.taut.safetensors", base, expected)
    check(files / "cut.taut.safetensors", files / "coded", expected)
    check(files / "on.taut.safetensors", files / "coded", expected)
    taut.decompress(files / "cut.taut.safetensors", files / "back.safetensors", base=base)
    assert (files / "back.safetensors").read_bytes() == (files / "fine.safetensors").read_bytes()


def held_if_small(layout, based, info, base, options):
    assert info.nbytes <= LARGE, info.name
    return _held(layout, based, info, base, options)


_held = add_on_base._HeldOnBase


ROUNDED = (
    *("rd:2", "int4:g32", "int8,tensor", "binary", "nvfp4", "codebook16", "fp16", "99%", "50%"),
    *("2:4+fp16", "99%+rd:0.05", "80%+int4"),
)


def rounded_models(
    rng: np.random.Generator,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """A base, and tensors that are near it, far from it, equal to it, or not in it.

    Of the large ones none is much larger than it has to be.
    """
    weight = (rng.standard_normal((150, 256)) / 50).astype(np.float32)
    moved = weight + np.float32(1e-3) * rng.standard_normal(weight.shape).astype(np.float32)
    fine = {
        "near": moved,
        "half": moved.astype(ml_dtypes.bfloat16),
        "double": moved.astype(np.float64),
        "kernels": moved.reshape(50, 64, 4, 3),
        "far": -weight,
        "same": weight[::-1].copy(),
        "coarse": (weight.astype(ml_dtypes.bfloat16) * np.float32(1)).astype(ml_dtypes.bfloat16),
        "new": rng.standard_normal((150, 192)).astype(np.float32),
        "few": moved[:20],
        "bias": moved[0],
    }
    base = {
        **{name: weight.reshape(v.shape).astype(v.dtype) for name, v in fine.items()
           if name in ("near", "half", "double", "kernels", "far", "coarse")},
        "same": fine["same"],
        "few": weight[:20],
        "bias": weight[0],
    }  # fmt: skip
    words = base["coarse"].view(np.uint16).copy()
    words[::50, ::40] ^= 1  # what it differs by rounds to nothing
    base["coarse"] = words.view(ml_dtypes.bfloat16)
    return base, fine


@pytest.fixture
def rounded_files(tmp_path: Path, rng: np.random.Generator) -> Path:
    base, fine = rounded_models(rng)
    save_file(base, tmp_path / "base.safetensors")
    save_file(fine, tmp_path / "fine.safetensors")
    return tmp_path


ASKED = (
    *({"plan": scheme} for scheme in ROUNDED),
    {"bits": 1},
    {"bits": 0.3, "effort": "fast"},
    {"bits": 4, "effort": "max"},
    {"size": "30x"},
)


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_a_rounded_delta_is_the_same_and_so_is_what_it_gives_back(
    rounded_files: Path, monkeypatch: pytest.MonkeyPatch, asked: dict[str, object]
) -> None:
    monkeypatch.setattr(sys.modules["taut.transform.quantize"], "_BLOCK", 1 << 13)
    monkeypatch.setattr(sys.modules["taut.transform.runtime"], "BLOCK", 5000)
    monkeypatch.setattr(sys.modules["taut.transform.codebook"], "_MANY", 1000)
    monkeypatch.setattr(decoded_sums, "_PART", 3000)
    # No tensor that is not held has so few values that they are looked at one by one.
    monkeypatch.setattr(choose_coder, "_LARGE", LARGE // 8)
    if "plan" in asked:
        names = ("near", "half", "double", "kernels", "far", "same", "new", "coarse")
        if "rd" in str(asked["plan"]):
            names = names[:-1]  # of which no step leaves anything
        asked = {"plan": dict.fromkeys(names, asked["plan"])}
    whole = make(rounded_files, "whole", **asked)
    records = {r.name: r for r in taut.load(whole).index.records}
    for name in ("near", "half", "double", "kernels"):  # or what is left of it is nothing
        assert records[name].base == "sum" or records[name].store == "base", records[name]
    assert (records["same"].store, records["far"].base) == ("base", "")
    small(monkeypatch)
    # Nothing that is large goes the way of what is held.
    monkeypatch.setattr(add_on_base, "_HeldOnBase", held_if_small)
    monkeypatch.setattr(sys.modules["taut.encoding.model"], "encode_tensor", encoded_if_small)
    cut = make(rounded_files, "cut", **asked)
    assert cut.read_bytes() == whole.read_bytes()
    base = rounded_files / "base.safetensors"
    opened = taut.load(whole, base=base)
    check(cut, base, {name: opened[name] for name in opened})


def test_a_chain_of_deltas_is_followed_in_pieces(
    files: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    fine = load_file(files / "fine.safetensors")
    third = {
        **fine,
        "moved": fine["moved"] * np.float32(1.0001),
        "codes": fine["codes"][::-1].copy(),
    }
    save_file(third, files / "third.safetensors")
    small(monkeypatch)
    first = make(files, "first")
    second = files / "second.taut.safetensors"
    base = taut.load(first, base=files / "base.safetensors")
    taut.compress(files / "third.safetensors", second, base=base)
    check(second, base, third)


@pytest.mark.parametrize("name", ["moved", "half", "same", "one"])
def test_another_base_is_refused_by_the_tensor_that_differs(
    files: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    small(monkeypatch)
    path = make(files, "cut")
    other = load_file(files / "base.safetensors")
    other[name][-1, -1] += 1
    save_file(other, files / "other.safetensors")
    opened = taut.load(path, base=files / "other.safetensors")
    for use in (
        lambda: opened[name],
        lambda: list(opened.pieces(name)),
        lambda: opened.span(name, 0, 10),
        lambda: taut.verify(path, base=files / "other.safetensors"),
        lambda: taut.decompress(path, files / "out.safetensors", base=files / "other.safetensors"),
    ):
        with pytest.raises(VerifyError, match=f'has another "{name}"') as refused:
            use()
        assert refused.value.tensor == name
    assert not (files / "out.safetensors").exists()


def test_a_base_that_is_written_to_meanwhile_is_noticed(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small(monkeypatch)
    path, base = make(files, "cut"), files / "base.safetensors"
    opened = taut.load(path, base=base)
    opened.span("moved", 0, 10)
    data = bytearray(base.read_bytes())
    data[-50] ^= 1
    base.write_bytes(data)
    with pytest.raises(VerifyError, match="changed while it was read"):
        opened.check_still()


@pytest.mark.parametrize("scheme", ["lossless", "99%", "fp16"])
def test_neither_a_large_tensor_nor_the_base_s_is_held(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    values = rng.standard_normal((12288, 1024), dtype=np.float32)
    for name, rows in (("", 12288), ("few", 100)):
        save_file({"w": values[:rows]}, tmp_path / f"{name}base.safetensors")
        save_file({"w": values[:rows] * np.float32(1.0001)}, tmp_path / f"{name}fine.safetensors")
    small(monkeypatch)

    def there_and_back(name: str) -> None:
        out, base = tmp_path / "small", tmp_path / f"{name}base.safetensors"
        plan, fine = {"w": scheme}, tmp_path / f"{name}fine.safetensors"
        taut.compress(fine, out, base=base, plan=plan, effort="fast", force=True)
        taut.verify(out, base=base)
        taut.decompress(out, tmp_path / "back.safetensors", base=base, force=True)

    there_and_back("few")  # imports what it takes
    tracemalloc.start()
    try:
        there_and_back("")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < values.nbytes  # half of what two tensors take
