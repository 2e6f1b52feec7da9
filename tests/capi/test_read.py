"""libtaut reads what the Python reader reads, to the bit."""

from __future__ import annotations

import ctypes
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from tests.capi.library import (
    ALLOCATE,
    AS_IS,
    BFLOAT16,
    FLOAT16,
    FLOAT32,
    RELEASE,
    Allocator,
    Library,
    TautCError,
)
from tests.forge_gguf import small_model

import taut
from taut.container import TautFile
from taut.container.format import as_bytes

pytestmark = pytest.mark.slow("builds libtaut, once")

GOLDEN = sorted((Path(__file__).parents[1] / "golden" / "files").glob("*.taut.safetensors"))
CASTS = {FLOAT32: np.float32, FLOAT16: np.float16, BFLOAT16: ml_dtypes.bfloat16}


def weights(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    return rng.standard_normal((rows, columns)) * np.exp(rng.uniform(-6, 0, (rows, 1)))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A file for every scheme, and one of every dtype."""
    rng = np.random.default_rng(5)
    folder = tmp_path_factory.mktemp("capi")
    layer = weights(rng, 200, 256).astype(np.float32)
    bias = weights(rng, 1, 200)[0].astype(np.float32)
    sparse = (layer * (rng.random(layer.shape) < 0.1)).astype(np.float32)
    found = {}
    for scheme in (
        "lossless", "keep", "fp16", "fp8", "int8", "int8,tensor", "int4", "int4:g64",
        "int4:g64,asym", "int3", "int2", "rd:2", "rd:3", "ternary", "binary", "codebook16", "2:4",
        "50%", "90%", "2:4+int4",
    ):  # fmt: skip
        path = folder / f"{len(found)}.taut.safetensors"
        model = {"layer.weight": layer, "layer.bias": bias, "sparse": sparse, "tied": layer}
        taut.compress(model, path, plan={"layer.weight": scheme, "sparse": scheme})
        found[scheme] = path
    kinds = {
        str(dtype): (weights(rng, 40, 60) * 20).astype(dtype)
        for dtype in (np.float16, np.float64, ml_dtypes.bfloat16, np.int8, np.int16, np.int32,
                      np.int64, np.uint8, np.uint16, np.uint32, np.uint64, np.bool_,
                      ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2)
    }  # fmt: skip
    kinds |= {"empty": np.empty((0, 3), np.float32), "scalar": np.array(2.5, np.float32)}
    found["dtypes"] = folder / "dtypes.taut.safetensors"
    taut.compress(kinds, found["dtypes"])
    pairs = (layer[:40, :60] + 1j * layer[40:80, :60]).astype(np.complex64)
    for scheme in ("lossless", "rd:3", "fp16"):
        found[f"complex {scheme}"] = folder / f"complex-{scheme[:2]}.taut.safetensors"
        taut.compress({"c": pairs, "d": pairs[0]}, found[f"complex {scheme}"], plan={"c": scheme})
    found["effort"] = folder / "effort.taut.safetensors"
    taut.compress({"w": layer, "b": bias}, found["effort"], bits=3.0, effort="max")
    return found


def check(library: Library, path: Path) -> None:
    expected = TautFile(path)
    data = path.read_bytes()
    threads = library.open_bytes(data, threads=4)
    for found in (library.open_bytes(data), library.open_path(path), threads):
        assert list(found.tensors) == list(expected)
        for info in expected.infos:
            values = expected[info.name]
            assert found.shape(info.name) == info.shape
            assert found.decode(info.name) == as_bytes(values).tobytes(), info
        found.verify()
    for name, values in expected.items():
        if values.dtype.kind not in "fV" or values.dtype.itemsize > 8:
            continue
        for kind, dtype in CASTS.items():
            with np.errstate(over="ignore"):
                assert threads.decode(name, kind) == values.astype(dtype).tobytes(), (name, dtype)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.name.split(".")[0])
def test_a_golden_file_is_read(library: Library, path: Path) -> None:
    check(library, path)


def test_files_of_every_scheme_are_read(library: Library, files: dict[str, Path]) -> None:
    assert len(files) >= 12
    for path in files.values():
        check(library, path)


def test_rows_are_those_of_the_whole(library: Library, files: dict[str, Path]) -> None:
    for path in (files["rd:3"], files["lossless"], files["keep"], files["dtypes"], *GOLDEN):
        expected, found = TautFile(path), library.open_bytes(path.read_bytes())
        for name, values in expected.items():
            for first, last in ((0, 1), (1, 3), (values.shape[0] // 2 if values.ndim else 0, None)):
                if values.ndim == 0 or values.shape[0] < 4:
                    continue
                part = values[first:last]
                rows = (first, part.shape[0])
                assert (
                    found.decode(name, AS_IS, rows)
                    == as_bytes(np.ascontiguousarray(part)).tobytes()
                )


def test_an_exact_file_gives_the_original_back(library: Library, files: dict[str, Path]) -> None:
    for path in GOLDEN:
        if not path.name.startswith("exact"):
            continue
        model = path.with_name(path.name.replace("exact", "model").replace(".taut.", "."))
        assert list(library.open_bytes(path.read_bytes()).originals().values()) == [
            model.read_bytes()
        ]


def test_a_lossy_file_gives_what_decompress_writes(
    library: Library, files: dict[str, Path], tmp_path: Path
) -> None:
    for path in (*files.values(), *GOLDEN):
        suffix = "gguf" if path.name.startswith("gguf") else "safetensors"
        out = tmp_path / f"{path.name}.out.{suffix}"
        taut.decompress(path, out, force=True)
        (text,) = library.open_path(path).originals().values()
        assert text == out.read_bytes(), path


def test_modules_are_given(library: Library) -> None:
    (path,) = [path for path in GOLDEN if path.name.startswith("modules2")]
    expected = {"conv1": {"out_channels": 6}, "": {"width": -(2**40)}}
    assert library.open_bytes(path.read_bytes()).attributes() == expected


def test_a_source_reads_only_what_is_asked(library: Library, files: dict[str, Path]) -> None:
    data = files["keep"].read_bytes()
    asked = []

    def read(offset: int, size: int) -> bytes:
        asked.append(size)
        return data[offset : offset + size]

    found = library.open_source(read, len(data))
    opened = sum(asked)
    assert opened < 20_000
    assert found.decode("layer.bias") == TautFile(files["keep"])["layer.bias"].tobytes()
    assert sum(asked) < opened + 20_000
    found.verify()


def test_a_source_that_fails_is_an_error(library: Library, files: dict[str, Path]) -> None:
    data = files["rd:3"].read_bytes()
    left = [3]

    def read(offset: int, size: int) -> bytes | None:
        left[0] -= 1
        return data[offset : offset + size] if left[0] > 0 else None

    with pytest.raises(TautCError, match="read") as caught:
        library.open_source(read, len(data)).decode("layer.weight")
    assert caught.value.code == "read"


def test_memory_is_the_callers_and_all_given_back(library: Library, files: dict[str, Path]) -> None:
    held: dict[int, ctypes.Array[ctypes.c_char]] = {}

    @ALLOCATE
    def allocate(_context: object, size: int) -> int:
        block = ctypes.create_string_buffer(size + 16)
        at = (ctypes.addressof(block) + 15) // 16 * 16
        held[at] = block
        return at

    @RELEASE
    def release(_context: object, block: int, size: int) -> None:
        assert len(held.pop(block)) == size + 16

    for path in (files["rd:3"], files["2:4"], files["dtypes"], GOLDEN[0]):
        found = library.open_bytes(path.read_bytes(), allocator=Allocator(allocate, release, None))
        assert held
        for name in found.tensors:
            found.decode(name)
        found.verify()
        found.originals()
        found.close()
        assert not held


def test_a_limit_of_memory_is_kept_at_every_allocation(
    library: Library, files: dict[str, Path]
) -> None:
    data = files["rd:3"].read_bytes()
    expected = TautFile(files["rd:3"])["layer.weight"].tobytes()
    whole = library.open_bytes(data)
    assert whole.decode("layer.weight") == expected
    most = whole.memory()[1]
    outcomes = set()
    for limit in [*range(500, most, most // 60), most - 1, most]:
        try:
            found = library.open_bytes(data, memory_limit=limit)
            assert found.decode("layer.weight") == expected
            assert found.memory()[1] <= limit
            outcomes.add("decoded")
        except TautCError as error:
            assert error.code == "memory", error
            outcomes.add("refused")
    assert outcomes == {"decoded", "refused"}


def test_wrong_calls_are_told(library: Library, files: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(TautCError, match="cannot be opened"):
        library.open_path(tmp_path / "none")
    found = library.open_path(files["dtypes"])
    with pytest.raises(TautCError, match="rows 3"):
        found.decode("scalar", AS_IS, (3, 0))
    with pytest.raises(TautCError, match="options of another version"):
        library.open_bytes(b"", struct_size=8)


def test_gguf_reads_as_its_blocks_and_comes_back(library: Library, tmp_path: Path) -> None:
    source, path = tmp_path / "m.gguf", tmp_path / "m.taut.safetensors"
    source.write_bytes(small_model().data())
    taut.compress(source, path)
    check(library, path)
    assert library.open_path(path).originals() == {"m.gguf": source.read_bytes()}
