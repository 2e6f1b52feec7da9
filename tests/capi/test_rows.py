"""Chosen rows by libtaut: those of the whole tensor, however they are asked for."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file
from tests.capi.library import AS_IS, BFLOAT16, FLOAT16, FLOAT32, Library, TautCError

import taut
from taut.container import TautFile
from taut.container.format import as_bytes

pytestmark = pytest.mark.slow("builds libtaut, once")

GOLDEN = sorted((Path(__file__).parents[1] / "golden" / "files").glob("*.taut.safetensors"))
DELTAS = Path(__file__).parents[1] / "golden" / "deltas"
SCHEMES = ("lossless", "keep", "fp16", "int8", "int4:g64,asym", "rd:2", "ternary", "90%", "2:4")
CASTS = {FLOAT32: np.float32, FLOAT16: np.float16, BFLOAT16: ml_dtypes.bfloat16}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A file of every store and kind of array: of several chunks, solid, kept, shared, constant."""
    rng = np.random.default_rng(5)
    folder = tmp_path_factory.mktemp("rows")
    layer = (rng.standard_normal((300, 64)) * np.exp(rng.uniform(-6, 0, (300, 1)))).astype("f4")
    tensors = {"w": layer, "tied": layer, "bias": layer[0].copy(), "few": layer[:3].copy()}
    tensors |= {"deep": layer.reshape(60, 5, 8, 8), "zero": np.zeros((50, 20), np.float32)}
    for number, scheme in enumerate(SCHEMES):
        taut.compress(tensors, folder / f"{number}.taut.safetensors", plan={"w": scheme})
    kinds = (np.float16, np.float64, ml_dtypes.bfloat16, np.int8, np.int64, np.bool_, np.complex64)
    dtypes = {np.dtype(kind).name: (layer[:40] * 20).astype(kind) for kind in kinds}
    dtypes |= {"empty": np.empty((0, 3), np.float32), "thin": np.empty((5, 0), np.float32)}
    dtypes["scalar"] = np.array(2.5, np.float32)
    taut.compress(dtypes, folder / "dtypes.taut.safetensors")
    table = rng.standard_normal((40_000, 16)).astype(np.float32)
    taut.compress({"table": table}, folder / "exact.taut.safetensors", effort="fast")
    taut.compress({"table": table}, folder / "low.taut.safetensors", bits=2, effort="fast")
    return sorted(folder.glob("*.taut.safetensors"))


def choices(rows: int) -> list[list[int]]:
    """Lists of rows: none, one, all backwards, repeated and unordered."""
    some = np.random.default_rng(rows).integers(0, max(1, rows), 25).tolist()
    found = [[rows - 1], [0, rows - 1, 0, 0], [*some, *some[:9]], [rows // 2] * 40]
    return [[], *(found if rows else []), list(range(rows))[::-1][:700]]


def check(found, name: str, values: np.ndarray) -> None:
    """Whatever rows are asked for are those of `values`, in each type."""
    rows = values if values.ndim else values.reshape(1)
    floats = values.dtype.kind in "fV" and values.dtype.itemsize <= 8
    for asked in choices(rows.shape[0]):
        some = np.ascontiguousarray(rows[np.array(asked, np.int64)])
        assert found.gather(name, asked) == as_bytes(some).tobytes(), (name, asked)
        for kind, dtype in CASTS.items() if floats else ():
            with np.errstate(over="ignore"):
                assert found.gather(name, asked, kind) == some.astype(dtype).tobytes(), name


def test_chosen_rows_are_those_of_the_whole(library: Library, files: list[Path]) -> None:
    for path in (*files, *GOLDEN):
        found = library.open_bytes(path.read_bytes(), threads=3)
        for name, values in TautFile(path).items():
            check(found, name, values)


def test_rows_of_a_delta_stand_on_its_base(library: Library) -> None:
    arrays = load_file(DELTAS / "base.safetensors")
    base = {name: values.tobytes() for name, values in arrays.items()}
    for kind in ("exact", "lossy"):
        found = library.open_path(DELTAS / f"{kind}.taut.safetensors")
        found.stand_on_arrays(base)
        for name, values in load_file(DELTAS / f"{kind}.safetensors").items():
            check(found, name, values)


def test_each_chunk_that_holds_a_row_is_read_once_and_no_other(
    library: Library, files: list[Path]
) -> None:
    (path,) = [path for path in files if path.name.startswith("exact")]
    data = path.read_bytes()
    asked: Counter[int] = Counter()

    def read(offset: int, size: int) -> bytes:
        asked[offset] += 1
        return data[offset : offset + size]

    found = library.open_source(read, len(data))
    place = TautFile(path).contents.places["table"]
    starts = place.entry.start + np.cumsum([0, *(part.nbytes for part in place.parts)])
    chunks = len(place.parts) - 1
    assert chunks >= 3
    each = -(-40_000 // chunks)
    rows = [39_999, 3, each // 2, 39_990, 5, 3]
    asked.clear()
    assert len(found.gather("table", rows)) == 16 * 4 * len(rows)
    assert [asked[int(at)] for at in starts[1:-1]] == [1, *[0] * (chunks - 2), 1]


def test_wrong_lists_are_refused_and_hurt_nothing(library: Library, files: list[Path]) -> None:
    for path in (*files, *GOLDEN):
        found = library.open_bytes(path.read_bytes())
        for name in found.tensors:
            shape = found.shape(name)
            all_rows = shape[0] if shape else 1
            for wrong in ([all_rows], [0, all_rows + 7, 0], [2**64 - 1], [2**63]):
                with pytest.raises(TautCError, match=r"argument: row \d+ of a tensor"):
                    found.gather(name, wrong)
            if all_rows and found.size(name, AS_IS, 1):
                with pytest.raises(TautCError, match="argument: room for"):
                    found.gather(name, [0, 0], size=2 * found.size(name, AS_IS, 1) - 1)
                for huge in (2**63, 2**60, 2**64 - 1):
                    with pytest.raises(TautCError, match="argument: room for"):
                        found.gather(name, [0], count=huge)
                found.gather(name, [0])


def test_more_rows_than_memory_holds_are_refused(library: Library, files: list[Path]) -> None:
    (path,) = [path for path in files if path.name.startswith("dtypes")]
    found = library.open_bytes(path.read_bytes(), memory_limit=1 << 22)
    assert found.gather("thin", [4, 0]) == b""
    for many in (1 << 20, 2**60, 2**64 - 1):  # rows of no bytes: the list itself is too long
        with pytest.raises(TautCError, match="memory"):
            found.gather("thin", [0], count=many)
    assert found.gather("int8", [1, 1]) == 2 * found.decode("int8", AS_IS, (1, 1))


def test_a_damaged_chunk_fails_the_rows_that_it_holds(library: Library, files: list[Path]) -> None:
    (path,) = [path for path in files if path.name.startswith("low")]
    data = bytearray(path.read_bytes())
    entry = TautFile(path).contents.places["table"].entry
    data[entry.start + entry.nbytes - 100] ^= 1
    found = library.open_bytes(bytes(data))
    assert found.gather("table", [1, 0]) == library.open_path(path).gather("table", [1, 0])
    with pytest.raises(TautCError, match="checksum"):
        found.gather("table", [0, 39_999])
