"""A file is written whole, or not at all."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tests.thorough import sample

import taut
from taut.container import AtomicFile, Layout, Origin, TautFile, nameless
from taut.container import write as write_module
from taut.errors import ArgumentError, FormatError, TautError, VerifyError

# Codes 200 tensors slowly enough to be interrupted anywhere; says when it began. A shell's
# background jobs inherit that SIGINT is ignored, and so would this process.
SLOW = """
import signal, sys, time, numpy as np, taut
import taut.container.nameless
signal.signal(signal.SIGINT, signal.default_int_handler)
if sys.argv[4] == "named":
    taut.container.nameless._FLAG = 0
rng = np.random.default_rng(1)
arrays = {f"t{i}": rng.standard_normal(20000).astype(np.float32) for i in range(200)}
def step(stage, done, total):
    if stage == sys.argv[2] and done == int(sys.argv[3]):
        print("now", flush=True)
        time.sleep(60)
taut.compress(arrays, sys.argv[1], force=True, threads=1, progress=step)
"""


def interrupted(path: Path, stage: str, done: int, how: signal.Signals, kind: str = "any") -> int:
    """Run SLOW until it has done so much, and send it a signal; gives the exit code."""
    command = [sys.executable, "-c", SLOW, str(path), stage, str(done), kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"now\n"
        time.sleep(0.05)
        process.send_signal(how)
        process.communicate(timeout=60)
    return process.returncode


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("before", [None, b"what was there before"])
@pytest.mark.parametrize(
    ("stage", "done"),
    sample([("encode", 100), ("verify", 1), ("verify", 200)], "a process for each", keep=1),
)
def test_sigint_leaves_the_old_file_or_none(tmp_path, stage, done, before):
    path = tmp_path / "x.taut.safetensors"
    if before:
        path.write_bytes(before)
    assert interrupted(path, stage, done, signal.SIGINT) not in (0, None)
    assert list(tmp_path.iterdir()) == ([path] if before else [])
    assert not before or path.read_bytes() == before


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize(("stage", "done"), [("encode", 150), ("verify", 3)])
def test_sigkill_leaves_the_old_file_and_a_temporary_that_is_no_result(tmp_path, stage, done):
    path = tmp_path / "x.taut.safetensors"
    path.write_bytes(b"old")
    assert interrupted(path, stage, done, signal.SIGKILL, "named") == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    (stale,) = (p for p in tmp_path.iterdir() if p != path)
    assert stale.name.startswith("x.taut.safetensors.")
    assert stale.suffix == ".tmp"
    if stage == "encode":  # even under a good name it would not be read
        with pytest.raises(FormatError):
            TautFile(stale)
    taut.compress({"w": np.ones(3)}, path, force=True)
    assert taut.load(path)["w"].tolist() == [1, 1, 1]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not nameless._FLAG, reason="files without a name are Linux's")
def test_sigkill_leaves_nothing_where_files_need_no_name(tmp_path):
    path = tmp_path / "x.taut.safetensors"
    path.write_bytes(b"old")
    assert interrupted(path, "encode", 150, signal.SIGKILL) == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EFBIG, errno.EIO])
@pytest.mark.parametrize("room", [0, 10_000, 60_000])
def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch, arrays, room, code):
    path = tmp_path / "x.taut.safetensors"
    path.write_bytes(b"old")
    left = room
    real = os.write

    def write(handle: int, data: bytes | memoryview) -> int:
        nonlocal left
        if len(data) > left:
            raise OSError(code, "no more of it")
        left -= len(data)
        return real(handle, data)

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(TautError, match=r"x\.taut\.safetensors: .*\(no more of it\)"):
        taut.compress(arrays, path, force=True)
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="POSIX limits")
def test_the_systems_own_limit_on_file_sizes_is_a_clean_error(tmp_path):
    program = (
        "import resource, sys, numpy as np, taut\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "try: taut.compress({'w': np.random.default_rng(0).bytes(9) and"
        " np.random.default_rng(0).standard_normal(50_000)}, sys.argv[1])\n"
        "except taut.errors.TautError as error: print(error); sys.exit(7)\n"
    )
    path = tmp_path / "x.taut.safetensors"
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 7, done.stderr
    assert f"{path}: cannot be written" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_os_write_may_write_less_than_asked(tmp_path, monkeypatch, arrays):
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, data[:1000]))
    path = tmp_path / "x.taut.safetensors"
    taut.compress(arrays, path)
    monkeypatch.undo()
    assert taut.verify(path).tensors == len(arrays)


def test_a_coder_that_loses_a_bit_is_caught_before_the_rename(tmp_path, monkeypatch, arrays):
    real = TautFile.__getitem__

    def broken(self: TautFile, name: str) -> np.ndarray:
        array = real(self, name)
        if name == "half":
            array.reshape(-1).view(np.uint8)[77] ^= 1
        return array

    monkeypatch.setattr(TautFile, "__getitem__", broken)
    path = tmp_path / "x.taut.safetensors"
    with pytest.raises(VerifyError, match='"half" decodes to other values') as caught:
        taut.compress(arrays, path)
    assert caught.value.tensor == "half"
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_loses_a_bit_is_caught_before_the_rename(tmp_path, monkeypatch, arrays):
    real = write_module.check_written

    def damage(path: Path, *args: object, **kwargs: object) -> None:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 16
        path.write_bytes(data)
        real(path, *args, **kwargs)

    monkeypatch.setattr(write_module, "check_written", damage)
    with pytest.raises(VerifyError):
        taut.compress(arrays, tmp_path / "x.taut.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten_without_force(tmp_path):
    path = tmp_path / "x.taut.safetensors"
    path.write_bytes(b"mine")
    with pytest.raises(ArgumentError, match="exists; give -f"):
        taut.compress({"w": np.ones(3)}, path)
    assert path.read_bytes() == b"mine"


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path):
    path = tmp_path / "x"
    with AtomicFile(path) as file:
        file.write(b"ours")
        path.write_bytes(b"theirs")
        with pytest.raises(ArgumentError, match="exists"):
            file.commit()
    assert path.read_bytes() == b"theirs"
    assert list(tmp_path.iterdir()) == [path]


def test_a_symbolic_link_stays_one(tmp_path):
    (tmp_path / "real").mkdir()
    target, link = tmp_path / "real" / "a", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    with AtomicFile(link, force=True) as file:
        file.write(b"new")
        file.commit()
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize(
    ("name", "message"), [(".", "is a folder"), ("no/such/folder/x", "does not exist; make it")]
)
def test_an_impossible_destination_is_refused_before_the_work(tmp_path, monkeypatch, name, message):
    monkeypatch.setattr(Layout, "__init__", lambda *_, **__: pytest.fail("work began"))
    with pytest.raises(ArgumentError, match=message):
        taut.compress({"w": np.ones(3)}, tmp_path / name)


def test_a_writer_replaces_nothing_unless_it_is_told_to(tmp_path: Path) -> None:
    path = tmp_path / "x.taut.safetensors"
    path.write_bytes(b"mine")
    with pytest.raises(ArgumentError, match="exists"):
        write_module.Writer(path, Origin(0), [])
    assert path.read_bytes() == b"mine"
