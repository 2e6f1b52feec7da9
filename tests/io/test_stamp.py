"""A source that does not hold still is an error that names the file; never SIGBUS, never a mix."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from tests.thorough import sample

import taut
from taut.errors import ArgumentError, VerifyError
from taut.io import open_source
from taut.io.stamp import blaming_changes, stamp_of

SIZE = 100_000  # values of a tensor: many pages, none of which is touched before its time


def arrays(seed: int) -> dict[str, np.ndarray]:
    """Six matrices of 0.4 MB."""
    rng = np.random.default_rng(seed)
    return {f"w{i}": rng.standard_normal((400, SIZE // 400)).astype(np.float32) for i in range(6)}


def safetensors_file(folder: Path, seed: int) -> tuple[Path, Path]:
    """A model, and the file of it that others write to."""
    path = folder / "net.safetensors"
    save_file(arrays(seed), path)
    return path, path


def shards(folder: Path, seed: int) -> tuple[Path, Path]:
    tensors = list(arrays(seed).items())
    for number in range(2):
        save_file(dict(tensors[3 * number : 3 * number + 3]), folder / f"s{number}.safetensors")
    index = folder / "net.safetensors.index.json"
    names = {name: f"s{number // 3}.safetensors" for number, (name, _) in enumerate(tensors)}
    index.write_text(json.dumps({"weight_map": names}))
    return index, folder / "s1.safetensors"


def checkpoint(folder: Path, seed: int) -> tuple[Path, Path]:
    torch = pytest.importorskip("torch")
    path = folder / "net.pt"
    torch.save({name: torch.from_numpy(values) for name, values in arrays(seed).items()}, path)
    return path, path


def onnx_model(folder: Path, seed: int, *, outside: bool) -> tuple[Path, Path]:
    onnx = pytest.importorskip("onnx")
    constants = [onnx.numpy_helper.from_array(v, n) for n, v in arrays(seed).items()]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["w0"], ["y"])],
        "g",
        [],
        [onnx.helper.make_tensor_value_info("y", 1, None)],
        constants,
    )
    path = folder / "net.onnx"
    data = folder / "net.data"
    data.unlink(missing_ok=True)  # onnx appends
    more = {"save_as_external_data": True, "location": data.name} if outside else {}
    onnx.save_model(onnx.helper.make_model(graph), path, **more)
    return path, data if outside else path


def onnx_inside(folder: Path, seed: int) -> tuple[Path, Path]:
    return onnx_model(folder, seed, outside=False)


def onnx_outside(folder: Path, seed: int) -> tuple[Path, Path]:
    return onnx_model(folder, seed, outside=True)


SOURCES = [safetensors_file, shards, checkpoint, onnx_inside, onnx_outside]
Make = Callable[[Path, int], tuple[Path, Path]]


def cut(path: Path) -> None:
    """Cut a file short, in place."""
    os.truncate(path, 5000)


def overwrite(path: Path) -> None:
    """Write other bytes of the same length into the end of a file, in place."""
    with path.open("r+b") as file:
        file.seek(-1000, os.SEEK_END)
        file.write(bytes(1000))
    about = path.stat()  # a clock may be so coarse that it has not moved on
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns + 1_000_000))


def replace(path: Path) -> None:
    """Put another file of the same size and time in a file's place."""
    about, other = path.stat(), path.with_name("other")
    other.write_bytes(path.read_bytes())
    os.utime(other, ns=(about.st_atime_ns, about.st_mtime_ns))
    os.replace(other, path)


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.skipif(os.name == "nt", reason="open files cannot be cut short or removed")
@pytest.mark.parametrize("change", [cut, overwrite, replace, remove])
@pytest.mark.parametrize("make", SOURCES)
@pytest.mark.parametrize(
    "options",
    sample(
        [{}, {"bits": 4}],
        "rounds",
    ),
    ids=["lossless", "lossy"],
)
def test_compress_notices_and_writes_nothing(tmp_path, make: Make, change, options):
    source, written_to = make(tmp_path, 0)
    dst = tmp_path / "out.taut.safetensors"
    dst.write_bytes(b"old")
    before = sorted(tmp_path.iterdir())

    def progress(stage: str, done: int, total: int) -> None:
        if stage == "encode" and done == 2 and written_to.exists() and not changes:
            changes.append(change(written_to))

    changes: list[None] = []
    with pytest.raises(VerifyError, match=f"{written_to.name}: changed while it was read"):
        taut.compress(source, dst, force=True, progress=progress, **options)
    assert changes
    assert dst.read_bytes() == b"old"
    assert sorted(tmp_path.iterdir()) == [path for path in before if path.exists()]


# The same in a process of its own: a signal would take the tests with it.
READERS = """
import os, sys
import taut
from taut.container import TautFile
from taut.io import open_source
way, path = sys.argv[1], sys.argv[2]
def cut(*_):
    os.truncate(path, 6000)
try:
    if way == "load":
        file = TautFile(path); cut(); dict(file.tensors())
    elif way == "read_into":
        file = TautFile(path); out = file["w0"]; cut(); file.read_into("w5", out)
    elif way == "load_all":
        file = TautFile(path); cut(); file.load_all()
    elif way == "view":
        source = open_source(path); source.view("w0"); cut(); source.view("w5").sum()
    elif way == "checkpoint":  # in the moment after its size was compared
        from taut.io.stamp import Stamp
        source = open_source(path); source.load("w0"); cut(); Stamp.check = lambda self: None
        source.load("w5")
    elif way == "analyze":
        taut.analyze(path, progress=cut)
    elif way == "dry run":
        source = open_source(path); cut()
        from taut.encoding.estimate import estimate_tensors
        from taut.scheme import Scheme
        estimate_tensors(source, {i.name: Scheme() for i in source.infos}, "fast", None)
except taut.errors.VerifyError as error:
    assert path in str(error) and "changed while it was read" in str(error), error
    sys.exit(44)
"""


@pytest.mark.skipif(os.name == "nt", reason="open files cannot be cut short")
@pytest.mark.parametrize(
    "way",
    sample(
        ["load", "load_all", "view", "read_into", "checkpoint", "analyze", "dry run"],
        "a process for each way of reading",
        keep=3,
    ),
)
def test_a_file_cut_short_is_an_error_and_no_signal(tmp_path, way):
    path, _ = (checkpoint if way == "checkpoint" else safetensors_file)(tmp_path, 0)
    if way in ("load", "read_into", "load_all"):
        path = taut.compress(path, tmp_path / "net.taut.safetensors").path
    done = subprocess.run(
        [sys.executable, "-c", READERS, way, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode != -getattr(signal, "SIGBUS", 7)
    assert done.returncode == 44, done.stderr


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float8_e4m3fn", "bool", "int64"])
def test_a_mapped_checkpoint_is_copied_to_the_bit(tmp_path, dtype):
    torch = pytest.importorskip("torch")
    values = torch.from_numpy(arrays(0)["w0"]).to(getattr(torch, dtype))
    tensors = {"w": values, "scalar": values[3, 3].clone(), "empty": values[:0].clone()}
    torch.save(tensors, tmp_path / "net.pt")
    source, memory = open_source(tmp_path / "net.pt"), open_source(tensors)
    for name in tensors:
        loaded, meant = source.load(name), memory.load(name)
        assert (loaded.dtype, loaded.shape) == (meant.dtype, meant.shape)
        assert loaded.tobytes() == meant.tobytes()


@pytest.mark.skipif(os.name == "nt", reason="open files cannot be cut short")
def test_a_part_that_was_read_stays_what_it_was(tmp_path, monkeypatch):
    """Its checksum was compared: what is decoded then is the same bytes, whatever the file is."""
    path, _ = safetensors_file(tmp_path, 0)
    made = taut.compress(path, tmp_path / "net.taut.safetensors").path
    file, real = taut.load(made), taut.coding.decode

    def late(jobs: object, **options: object) -> None:
        os.truncate(made, 100)
        real(jobs, **options)

    monkeypatch.setattr(taut.coding, "decode", late)
    assert np.array_equal(file["w3"], arrays(0)["w3"])


@pytest.mark.parametrize("change", [overwrite, cut])
@pytest.mark.skipif(os.name == "nt", reason="open files cannot be cut short")
def test_verify_and_decompress_notice(tmp_path, monkeypatch, change):
    path, _ = safetensors_file(tmp_path, 0)
    made = taut.compress(path, tmp_path / "net.taut.safetensors").path
    whole, real = made.read_bytes(), taut.coding.decode

    def late(jobs: object, **options: object) -> None:
        change(made)
        real(jobs, **options)

    monkeypatch.setattr(taut.coding, "decode", late)
    for work in (taut.verify, lambda path: taut.decompress(path, tmp_path / "back.safetensors")):
        made.write_bytes(whole)
        with pytest.raises(VerifyError, match=r"net\.taut\.safetensors: "):
            work(made)
        assert not (tmp_path / "back.safetensors").exists()


def test_what_is_only_read_or_renamed_to_itself_is_unchanged(tmp_path):
    path, _ = safetensors_file(tmp_path, 0)
    stamp = stamp_of(path)
    path.read_bytes()
    path.chmod(0o600)
    stamp.check()
    assert open_source(path).stamps == (stamp,)
    assert open_source({"w": np.ones(3)}).stamps == ()


def test_every_file_of_a_model_has_a_stamp(tmp_path):
    for number, make in enumerate(SOURCES):
        folder = tmp_path / str(number)
        folder.mkdir()
        source, written_to = make(folder, 0)
        names = {stamp.path.name for stamp in open_source(source).stamps}
        assert {source.name, written_to.name} <= names


@pytest.mark.parametrize("changed", [False, True])
def test_what_fails_while_a_file_changes_is_blamed_on_the_change(tmp_path, changed):
    path = tmp_path / "m.safetensors"
    save_file({"w": np.zeros(64, np.float32)}, path)
    stamps = open_source(path).stamps
    with (
        pytest.raises(VerifyError if changed else ArgumentError) as caught,
        blaming_changes(stamps),
    ):
        if changed:
            os.truncate(path, 100)
        raise ArgumentError("a step is too fine")
    assert str(path) in str(caught.value) if changed else str(caught.value) == "a step is too fine"
