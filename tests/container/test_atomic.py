"""Writers never share a temporary file, and what a dead one left is removed by the next."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import taut.container.nameless as nameless_module
import taut.container.temporary as temporary_module
from taut.container import AtomicFile, check_folder, made_file, made_folder, scratch_folder
from taut.container.atomic import explained
from taut.container.temporary import clear, is_temporary
from taut.errors import ArgumentError, TautError, VerifyError

# Begins to write `path` by one of the ways there are, says so, and commits when it is told to.
WRITER = """
import signal, sys
from pathlib import Path
import taut.container.nameless
from taut.container import AtomicFile, made_file, made_folder
signal.signal(signal.SIGINT, signal.default_int_handler)
way, path, text = sys.argv[1], Path(sys.argv[2]), sys.argv[3].encode()
taut.container.nameless._FLAG = int(sys.argv[4])
def ready():
    print("ready", flush=True)
    assert sys.stdin.readline() == "go\\n"
if way == "file":
    with AtomicFile(path, force=True) as file:
        file.write(text)
        ready()
        file.commit()
elif way == "made_file":
    with made_file(path, force=True) as made:
        made.write_bytes(text)
        ready()
else:
    with made_folder(path, force=True) as made:
        (made / "a").write_bytes(text)
        ready()
"""
WAYS = ["file", "made_file", "made_folder"]
HAS_NAMELESS = bool(nameless_module._FLAG)
without_a_name = pytest.param(
    True, marks=pytest.mark.skipif(not HAS_NAMELESS, reason="files without a name are Linux's")
)


@pytest.fixture(params=[False, without_a_name], ids=["named", "nameless"])
def nameless(request, monkeypatch) -> bool:
    """Whether files are without a name until they are whole, here and in the writers' processes."""
    if not request.param:
        monkeypatch.setattr(nameless_module, "_FLAG", 0)
    return request.param


@contextmanager
def writer(way: str, path: Path, text: str = "theirs") -> Iterator[subprocess.Popen[bytes]]:
    """A process that is in the middle of writing `path`; it is killed at the end, if it lives."""
    flag = str(nameless_module._FLAG)
    command = [sys.executable, "-c", WRITER, way, str(path), text, flag]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield process
        finally:
            process.kill()


def finish(process: subprocess.Popen[bytes]) -> None:
    """Let a writer commit, and wait for its end."""
    process.communicate(b"go\n", timeout=60)
    assert process.returncode == 0


def begin(way: str, path: Path) -> None:
    """Write `path` from begin to end in this process."""
    if way == "file":
        with AtomicFile(path, force=True) as file:
            file.write(b"ours")
            file.commit()
    elif way == "made_file":
        with made_file(path, force=True) as made:
            made.write_bytes(b"ours")
    else:
        with made_folder(path, force=True) as made:
            (made / "a").write_bytes(b"ours")


def content(way: str, path: Path) -> bytes:
    """What stands in the file, or in the one file of the folder."""
    return (path / "a" if way == "made_folder" else path).read_bytes()


def names(folder: Path) -> list[str]:
    """All that is in a folder and below."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_writer_commits_its_own_bytes_only(tmp_path, nameless):
    path = tmp_path / "x"
    with AtomicFile(path, force=True) as a, AtomicFile(path, force=True) as b:
        a.write(b"A" * 10)
        b.write(b"BBB")
        a.commit()
        assert path.read_bytes() == b"A" * 10
        b.commit()
    assert path.read_bytes() == b"BBB"
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("force", [False, True])
def test_of_many_threads_each_writes_a_whole_file(tmp_path, force, nameless):
    path, barrier = tmp_path / "x", threading.Barrier(8)
    done: list[int] = []
    refused: list[int] = []

    def write(number: int) -> None:
        with AtomicFile(path, force=force) as file:
            file.write(bytes([number]) * 1000)
            barrier.wait()
            file.write(bytes([number]) * 1000)
            barrier.wait()
            try:
                file.commit()
                done.append(number)
            except ArgumentError:
                refused.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(done), len(refused)) == ((8, 0) if force else (1, 7))
    assert path.read_bytes() in [bytes([number]) * 2000 for number in done]
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("way", WAYS)
def test_of_two_processes_the_last_to_commit_is_whole(tmp_path, way, nameless):
    path = tmp_path / "x"
    with writer(way, path, "first") as first, writer(way, path, "second") as second:
        begin(way, path)
        assert content(way, path) == b"ours"
        finish(second)
        assert content(way, path) == b"second"
        finish(first)
        assert content(way, path) == b"first"
    assert names(tmp_path) == (["x", "x/a"] if way == "made_folder" else ["x"])


@pytest.mark.parametrize("way", WAYS)
def test_what_a_killed_writer_left_is_removed_by_the_next_and_nothing_else(tmp_path, way, nameless):
    path, folder = tmp_path / "x", tmp_path / "mine.0123456789abcdef.tmp"
    folder.mkdir()
    others = [tmp_path / "x.bak.tmp", tmp_path / "y.0123456789abcdef.tmp", folder / "lock"]
    for other in others:
        other.write_bytes(b"not of x")
    before = names(tmp_path)
    with writer(way, path) as dead, writer(way, path) as alive:
        dead.send_signal(signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
        dead.wait()
        held = {name for name in names(tmp_path) if is_temporary(name, "x")}
        seen = 0 if nameless and way == "file" else 1
        assert len(held) == 2 * seen
        begin(way, path)
        left = {name for name in names(tmp_path) if is_temporary(name, "x")}
        assert len(left) == seen
        finish(alive)
        assert content(way, path) == b"theirs"
    after = [name for name in names(tmp_path) if name not in ("x", "x/a")]
    assert after == before


def test_a_folder_that_is_there_holds_its_own_temporaries(tmp_path):
    """It may be another disk that is mounted there, to which nothing can be renamed from beside."""
    path = tmp_path / "x"
    (path / "sub").mkdir(parents=True)
    (path / "a").write_bytes(b"old")
    with made_folder(path, force=True) as made:
        assert path in made.parents
        (made / "a").write_bytes(b"new")
        (made / "sub").mkdir()
        (made / "sub" / "b").write_bytes(b"new")
    assert names(tmp_path) == ["x", "x/a", "x/sub", "x/sub/b"]
    assert (path / "a").read_bytes() == b"new"


def test_a_folder_without_force_replaces_nothing(tmp_path):
    path = tmp_path / "x"
    path.mkdir()
    (path / "b").write_bytes(b"old")
    with pytest.raises(ArgumentError, match="b: exists"), made_folder(path, force=False) as made:
        (made / "a").write_bytes(b"new")
        (made / "b").write_bytes(b"new")
    assert names(tmp_path) == ["x", "x/b"]
    assert (path / "b").read_bytes() == b"old"


def test_a_failing_body_leaves_no_folder_and_keeps_one_that_was_there(tmp_path):
    for path in (tmp_path / "new", tmp_path / "old"):
        if path.name == "old":
            path.mkdir()
            (path / "mine").write_bytes(b"mine")
        with pytest.raises(ZeroDivisionError), made_folder(path, force=True) as made:
            (made / "a").write_bytes(b"half")
            raise ZeroDivisionError
    assert names(tmp_path) == ["old", "old/mine"]


def test_a_folder_that_came_meanwhile_is_not_replaced(tmp_path):
    path = tmp_path / "x"
    with pytest.raises(ArgumentError, match="a: exists"), made_folder(path, force=False) as made:
        (made / "a").write_bytes(b"ours")
        path.mkdir()
        (path / "a").write_bytes(b"theirs")
    assert (path / "a").read_bytes() == b"theirs"
    assert names(tmp_path) == ["x", "x/a"]


def test_files_beside_a_file_are_moved_before_it_and_all_or_none(tmp_path):
    out = tmp_path / "x.onnx"
    with made_file(out, force=False) as made:
        made.write_bytes(b"graph")
        (made.parent / "data").mkdir()
        (made.parent / "data" / "w").write_bytes(b"weights")
    assert names(tmp_path) == ["data", "data/w", "x.onnx"]
    out.unlink()
    with pytest.raises(ArgumentError, match="w: exists"), made_file(out, force=False) as made:
        made.write_bytes(b"graph")
        (made.parent / "data").mkdir()
        (made.parent / "data" / "w").write_bytes(b"others")
    assert names(tmp_path) == ["data", "data/w"]


def test_errors_in_a_folder_name_the_place_and_not_the_temporary(tmp_path):
    path = tmp_path / "x"
    with pytest.raises(TautError) as caught, made_folder(path, force=False) as made:
        AtomicFile(made / "no" / "such")
    assert str(tmp_path / "x" / "no") in str(caught.value)
    assert ".tmp" not in str(caught.value)


@pytest.mark.parametrize("replaced", [False, True])
def test_a_temporary_that_somebody_took_away_is_never_committed(tmp_path, monkeypatch, replaced):
    monkeypatch.setattr(nameless_module, "_FLAG", 0)
    path = tmp_path / "x"
    path.write_bytes(b"old")
    with AtomicFile(path, force=True) as file:
        file.write(b"ours")
        file.readable.unlink()
        if replaced:
            file.readable.write_bytes(b"theirs")
        with pytest.raises(TautError, match="removed or replaced"):
            file.commit()
    assert path.read_bytes() == b"old"


def test_one_that_is_cleared_before_it_is_held_is_made_again(tmp_path, monkeypatch):
    real, calls = temporary_module.hold, 0

    def late(handle: int) -> bool | None:
        nonlocal calls
        calls += 1
        if calls == 1:  # a clearer comes between the making and the holding
            clear(tmp_path / "x")
        return real(handle)

    monkeypatch.setattr(temporary_module, "hold", late)
    monkeypatch.setattr(nameless_module, "_FLAG", 0)
    with AtomicFile(tmp_path / "x") as file:
        assert file.readable.exists()
        file.commit()
    with scratch_folder(tmp_path / "x") as folder:
        assert folder.is_dir()
    assert names(tmp_path) == ["x"]


@pytest.mark.skipif(not HAS_NAMELESS, reason="files without a name are Linux's")
@pytest.mark.parametrize("refused", ["open", "name"])
def test_where_no_name_can_be_given_later_files_have_one_from_the_start(
    tmp_path, monkeypatch, refused
):
    """As on network disks, and in sandboxes: it is noticed before any work is done."""

    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(95, "not supported")

    if refused == "name":
        monkeypatch.setattr(nameless_module, "give_name", refuse)
    else:
        monkeypatch.setattr(nameless_module, "_FLAG", os.O_DIRECTORY)
    with AtomicFile(tmp_path / "x") as file:
        assert file.readable.parent == tmp_path
        file.write(b"ours")
        file.commit()
    assert (tmp_path / "x").read_bytes() == b"ours"
    assert names(tmp_path) == ["x"]


def test_a_file_without_a_name_can_be_read_before_it_has_one(tmp_path, nameless):
    with AtomicFile(tmp_path / "x") as file:
        file.write(b"ours")
        assert file.readable.read_bytes() == b"ours"
        assert bool(names(tmp_path)) is not nameless
    assert names(tmp_path) == []


def test_where_there_are_no_locks_nothing_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(temporary_module, "hold", lambda handle: None)
    left = tmp_path / "x.0123456789abcdef.tmp"
    left.write_bytes(b"perhaps of a live writer")
    begin("file", tmp_path / "x")
    begin("made_file", tmp_path / "x")
    assert names(tmp_path) == ["x", left.name]


@pytest.mark.skipif(os.name == "nt", reason="POSIX links")
def test_a_link_that_looks_like_a_temporary_is_not_followed(tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "a").write_bytes(b"mine")
    for number, target in enumerate((mine, mine / "a")):
        (tmp_path / f"x.{number:016}.tmp").symlink_to(target)
    begin("file", tmp_path / "x")
    assert (mine / "a").read_bytes() == b"mine"


def test_a_name_as_long_as_file_systems_take(tmp_path, nameless):
    path = tmp_path / ("x" * 250)
    with writer("file", path) as dead:
        dead.kill()
        dead.wait()
        assert len(names(tmp_path)) == (0 if nameless else 1)
    begin("file", path)
    assert names(tmp_path) == [path.name]


@pytest.fixture
def umask() -> Iterator[Callable[[int], None]]:
    """Sets the umask for one test."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


@pytest.mark.skipif(os.name == "nt", reason="POSIX modes")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", [0o640, 0o600, 0o444, 0o755, 0o666])
def test_what_is_replaced_hands_on_its_mode(tmp_path, umask, way, mode, nameless):
    path = tmp_path / "x"
    begin(way, path)
    file = path / "a" if way == "made_folder" else path
    file.chmod(mode)
    begin(way, path)
    assert stat.S_IMODE(file.stat().st_mode) == mode
    assert content(way, path) == b"ours"


@pytest.mark.skipif(os.name == "nt", reason="POSIX modes")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_what_is_new_has_the_umasks_mode(tmp_path, umask, way, mask, mode, nameless):
    umask(mask)
    path = tmp_path / "x"
    begin(way, path)
    file = path / "a" if way == "made_folder" else path
    assert stat.S_IMODE(file.stat().st_mode) == mode
    if way == "made_folder":
        assert stat.S_IMODE(path.stat().st_mode) == 0o777 & ~mask


@pytest.mark.skipif(os.name == "nt", reason="POSIX modes")
def test_a_private_file_is_private_while_it_is_written(tmp_path, umask, nameless):
    path = tmp_path / "x"
    path.write_bytes(b"secret")
    path.chmod(0o600)
    with AtomicFile(path, force=True) as file:
        assert stat.S_IMODE(file.readable.stat().st_mode) == 0o600
        file.commit()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may")
def test_what_root_replaces_stays_its_owners(tmp_path, nameless):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    os.chown(path, 1234, 4321)
    begin("file", path)
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 4321)


def test_a_folder_of_another_is_refused_before_the_work(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "model.bin").write_bytes(b"weights")
    with pytest.raises(ArgumentError, match="exists"):
        check_folder(tmp_path / "x", force=False)
    with (
        pytest.raises(ArgumentError, match="holds weights that are not of this export"),
        made_folder(tmp_path / "x", force=True, sole=True) as made,
    ):
        (made / "model.safetensors").write_bytes(b"new")
    assert names(tmp_path) == ["x", "x/model.bin"]


@pytest.mark.parametrize("shown", [None, "net.taut"])
def test_no_error_names_a_folder_that_is_gone(shown: str | None, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"

    def fail() -> None:
        with scratch_folder(out, shown) as folder:
            raise VerifyError(f'{folder / "float.onnx"}: no "x"; see {folder}', tensor="w")

    with pytest.raises(VerifyError) as found:
        fail()
    first, last = (shown, shown) if shown else (tmp_path / "float.onnx", tmp_path)
    assert str(found.value) == f'{first}: no "x"; see {last}'
    assert found.value.tensor == "w"


def test_the_disk_is_waited_for_while_the_file_is_checked_and_its_errors_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = threading.Event()
    order: list[str] = []

    def fsync(handle: int) -> None:
        assert body.wait(10)  # or nothing is done meanwhile
        order.append("synced")
        raise OSError(errno.ENOSPC, "no room")

    with AtomicFile(tmp_path / "a") as file:
        file.write(b"abc")
        monkeypatch.setattr(os, "fsync", fsync)
        with pytest.raises(TautError, match="no room"), file.syncing():
            order.append("checked")
            body.set()
    assert order == ["checked", "synced"] and not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("number", "way_out"),
    [
        (errno.ENOSPC, "make room there, or write elsewhere"),
        (errno.EFBIG, "allow files of that size"),
        (errno.EROFS, "write elsewhere, or where you may write"),
        (errno.EACCES, "write elsewhere, or where you may write"),
        (errno.EIO, "untouched"),
    ],
)
def test_an_error_of_the_system_says_what_where_and_what_to_do(
    tmp_path: Path, number: int, way_out: str
) -> None:
    path = tmp_path / "net.taut.safetensors"
    told = f"{path}: cannot be written ({os.strerror(number)}); what was there before is untouched"
    with pytest.raises(TautError) as caught, explained(path):
        raise OSError(number, os.strerror(number))
    assert str(caught.value).startswith(told)
    assert way_out in str(caught.value)
