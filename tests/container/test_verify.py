"""Damage anywhere is found and named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import taut
from taut.container import TautFile
from taut.errors import FormatError, VerifyError
from taut.io import read_header


@pytest.fixture
def small(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A file of 2 kB that has a group and a kept tensor."""
    path = tmp_path / "small.taut.safetensors"
    arrays = {"a.bias": rng.standard_normal(70).astype(np.float32), "n": rng.bytes(300)}
    arrays["n"] = np.frombuffer(arrays["n"], np.uint8)
    taut.compress(arrays, path, plan={"n": "keep"})
    return path


def test_a_sound_file_passes(file, arrays):
    report = taut.verify(file)
    assert report.tensors == len(arrays)
    assert report.size == file.stat().st_size
    assert report.decoded == sum(a.nbytes for n, a in arrays.items() if n != "copy")
    assert "no damage" in str(report)


def test_a_file_cut_anywhere_is_refused(small):
    data = small.read_bytes()
    assert len(data) < 2500
    for length in range(len(data)):
        small.write_bytes(data[:length])
        with pytest.raises((FormatError, VerifyError), match=r"small\.taut\.safetensors: "):
            taut.verify(small)
    small.write_bytes(data + b"\0")
    with pytest.raises(FormatError):
        taut.verify(small)


def test_every_flipped_bit_of_a_small_file_is_found(small, rng):
    data = bytearray(small.read_bytes())
    for bit in rng.choice(8 * len(data), 600, replace=False):
        data[bit // 8] ^= 1 << (bit % 8)
        small.write_bytes(data)
        with pytest.raises((FormatError, VerifyError), match=r"small\.taut\.safetensors: "):
            taut.verify(small)
        data[bit // 8] ^= 1 << (bit % 8)


def test_each_flipped_bit_of_data_is_named_by_tensor_and_found_on_load_too(file, rng):
    data = bytearray(file.read_bytes())
    header = read_header(file)
    entries = [t for t in header.tensors if t.nbytes and t.name != "taut.index"]
    first = "taut.solid.F32"  # of the pack
    for bit in rng.integers(8 * header.data_start, 8 * entries[-1].stop, 200):
        data[bit // 8] ^= 1 << (bit % 8)
        file.write_bytes(data)
        (hit,) = (t.name for t in entries if t.start <= bit // 8 < t.stop)
        what = f'is in pack "{hit}"' if hit == "taut.pack" else f'tensor "{hit}"'
        for check in (taut.verify, lambda path: TautFile(path).load_all()):
            with pytest.raises(VerifyError, match=what) as caught:
                check(file)
            assert caught.value.tensor == (first if hit == "taut.pack" else hit)
        data[bit // 8] ^= 1 << (bit % 8)


def test_the_chunk_is_named_with_its_place(tmp_path, rng):
    path = tmp_path / "big.taut.safetensors"
    weights = rng.standard_normal((3000, 512)).astype(np.float32)
    taut.compress({"w": weights, "v": weights[::-1].copy()}, path)
    place = TautFile(path).contents.places["v"]
    assert len(place.parts) > 3
    start = place.entry.start + sum(part.nbytes for part in place.parts[:2])
    data = bytearray(path.read_bytes())
    data[start + 100] ^= 8
    path.write_bytes(data)
    with pytest.raises(VerifyError) as caught:
        taut.verify(path)
    assert (caught.value.tensor, caught.value.chunk) == ("v", 2)
    assert f'"v", chunk 2 ({place.parts[2].nbytes} bytes at offset {start})' in str(caught.value)
    assert np.array_equal(TautFile(path)["w"], weights)  # what is sound can still be had


def test_several_damaged_tensors_are_counted(file):
    data = bytearray(file.read_bytes())
    for tensor in read_header(file).tensors[:-1]:
        if tensor.nbytes:
            data[tensor.start + 9] ^= 1
    file.write_bytes(data)
    # The four members of the pack, "coded" and "noise".
    with pytest.raises(VerifyError, match=r'"taut.pack" .*; 5 more tensors are damaged'):
        taut.verify(file)


@pytest.fixture
def packed(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A file with a pack that has an entry of its own, and padding after it."""
    arrays = {}
    for number in range(40):
        sparse = rng.standard_normal((80, 60)) * (rng.random((80, 60)) < 0.4)
        arrays[f"w{number:02}"] = sparse.astype(np.float32)
    path = tmp_path / "packed.taut.safetensors"
    taut.compress(arrays, path)
    while not padding_of_pack(path):  # until the pack's end is none of an eighth byte
        arrays[f"more{len(arrays)}"] = arrays["w00"][: 30 + len(arrays)].copy()
        taut.compress(arrays, path, force=True)
    return path


def padding_of_pack(path: Path) -> range:
    """Where in the file the bytes lie that fill up the pack of the fixture above."""
    entry = next(t for t in read_header(path).tensors if t.name == "taut.pack")
    places = TautFile(path).contents.places.values()
    used = sum(part.nbytes for place in places if place.pack == 0 for part in place.parts)
    return range(entry.start + used, entry.stop)


def test_every_byte_of_padding_after_a_pack_is_checked(packed):
    data = bytearray(packed.read_bytes())
    taut.verify(packed)
    for at in padding_of_pack(packed):
        data[at] = 1
        packed.write_bytes(data)
        for act in (taut.verify, lambda path: TautFile(path)["w07"]):
            with pytest.raises(VerifyError, match=r'is in pack "taut\.pack"'):
                act(packed)
        data[at] = 0


def test_damage_to_a_pack_is_seen_before_any_of_its_tensors_is_decoded(packed, rng):
    data = bytearray(packed.read_bytes())
    entry = next(t for t in read_header(packed).tensors if t.name == "taut.pack")
    for bit in rng.integers(8 * entry.start, 8 * entry.stop, 30):
        data[bit // 8] ^= 1 << (bit % 8)
        packed.write_bytes(data)
        for name in ("w00", "w07"):
            with pytest.raises(VerifyError, match=r'is in pack "taut\.pack"') as caught:
                TautFile(packed)[name]
            assert caught.value.tensor == name
        data[bit // 8] ^= 1 << (bit % 8)


def test_padding_is_checked(file):
    contents = TautFile(file).contents
    padded = next(
        place
        for place in contents.places.values()
        if place.parts and sum(p.nbytes for p in place.parts) < place.entry.nbytes
    )
    data = bytearray(file.read_bytes())
    data[padded.entry.stop - 1] = 1
    file.write_bytes(data)
    with pytest.raises(VerifyError, match="the padding at offset"):
        taut.verify(file)
