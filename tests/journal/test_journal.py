"""The journal: what was put is there after any crash, and goes on only with the same work."""

from __future__ import annotations

import errno
import math
import os
import random
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tests.thorough import examples

from taut.errors import ArgumentError, TautError
from taut.io.dtypes import SAFETENSORS_DTYPES
from taut.journal.journal import LOCK, MARKER, Journal, journal_folder

IDENTITY = {"model": "5d" * 16, "plan": "a1" * 16, "version": "0.1", "seed": "0"}


def opened(dst: Path, resume: bool = True, **other: str) -> Journal:
    return Journal.open(dst, IDENTITY | other, resume=resume)


def pieces(dst: Path) -> dict[str, bytes]:
    """Files of the folder but for the lock, by name."""
    folder = journal_folder(dst)
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != LOCK}


def only_piece(dst: Path) -> Path:
    (path,) = journal_folder(dst).glob("*.safetensors")
    return path


@pytest.fixture
def dst(tmp_path: Path) -> Path:
    return tmp_path / "x.taut.safetensors"


@pytest.fixture
def begun(dst: Path) -> Path:
    """The destination of work that has one piece, "a"."""
    with opened(dst) as journal:
        journal.put("a", w=np.arange(100))
    return dst


# What is put is there


def test_pieces_are_there_in_the_next_run(dst):
    with opened(dst) as journal:
        assert (journal.resumed, journal.done) == (False, frozenset())
        journal.put("layer.0", levels=np.arange(6).reshape(2, 3), dial=np.float64(0.5))
        journal.put("layer.1")
    with opened(dst) as journal:
        assert (journal.resumed, journal.dropped) == (True, 0)
        assert journal.done == {"layer.0", "layer.1"}
        found = journal.get("layer.0")
        assert list(found) == ["levels", "dial"]
        assert found["levels"].tolist() == [[0, 1, 2], [3, 4, 5]]
        assert found["dial"].shape == () and found["dial"] == 0.5
        assert journal.get("layer.1") == {}
        assert journal.get("layer.2") is None


@st.composite
def any_arrays(draw: st.DrawFn) -> np.ndarray:
    """Any bits of any dtype and shape."""
    dtype = SAFETENSORS_DTYPES[draw(st.sampled_from(sorted(SAFETENSORS_DTYPES)))]
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    size = math.prod(shape) * dtype.itemsize
    return np.frombuffer(draw(st.binary(min_size=size, max_size=size)), dtype).reshape(shape)


works = st.dictionaries(
    st.text(max_size=9), st.dictionaries(st.text(max_size=5), any_arrays(), max_size=3), max_size=4
)


@settings(max_examples=25)  # each piece waits for the disk
@given(works)
def test_any_arrays_under_any_keys_come_back_bit_for_bit(tmp_path_factory, works):
    dst = tmp_path_factory.mktemp("any") / "x"
    with opened(dst) as journal:
        for key, work in works.items():
            journal.put(key, **work)
    with opened(dst) as journal:
        assert journal.done == set(works)
        for key, work in works.items():
            found = journal.get(key)
            assert list(found) == list(work)
            for name, array in work.items():
                assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
                assert found[name].tobytes() == np.asarray(array).tobytes()
                assert found[name].flags.writeable and found[name].flags.aligned


def test_no_name_of_an_array_is_taken(dst):
    with opened(dst) as journal:
        journal.put("a", self=np.ones(1), key=np.zeros(2), arrays=np.zeros(3))
        assert list(journal.get("a")) == ["self", "key", "arrays"]


def test_layouts_and_byte_orders_do_not_matter(begun):
    with opened(begun) as journal:
        journal.put("b", w=np.arange(12, dtype=">f4").reshape(3, 4).T[::2])
        assert journal.get("b")["w"].tolist() == [[0, 4, 8], [2, 6, 10]]
        journal.put("b", w=np.array(1.5, ml_dtypes.bfloat16))
        assert journal.get("b")["w"].dtype == ml_dtypes.bfloat16


def test_equal_work_gives_equal_bytes(tmp_path):
    for name in ("one", "two"):
        with opened(tmp_path / name) as journal:
            journal.put("b", w=np.arange(9, dtype=np.float32))
            journal.put("a", w=np.zeros(3), v=np.ones(2, bool))
    assert pieces(tmp_path / "one") == pieces(tmp_path / "two")


def test_forget_takes_all_with_the_prefix_for_good(begun):
    with opened(begun) as journal:
        for key in ("block.1.a", "block.1.b", "block.2.a"):
            journal.put(key, w=np.zeros(1))
        journal.forget("block.1.")
        assert journal.done == {"a", "block.2.a"}
        assert journal.get("block.1.a") is None
    with opened(begun) as journal:
        assert journal.done == {"a", "block.2.a"}


def test_after_success_nothing_is_left(begun):
    opened(begun).discard()
    assert list(begun.parent.iterdir()) == []


def test_a_destination_through_a_link_has_its_journal_beside_the_file(tmp_path):
    (tmp_path / "big").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "big" / "x")
    with opened(tmp_path / "link"):
        assert (tmp_path / "big" / "x.journal").is_dir()


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("w", np.array([{}]), 'a: tensor "w": dtype object cannot be stored'),
        ("w", np.array(["x"]), 'a: tensor "w": dtype <U1 cannot be stored'),
        ("__metadata__", np.zeros(1), "__metadata__"),
        ("\ud800", np.zeros(1), "not valid Unicode"),
    ],
)
def test_what_cannot_be_stored_is_refused_and_the_old_piece_stays(begun, name, array, message):
    with opened(begun) as journal:
        with pytest.raises(ArgumentError, match=message):
            journal.put("a", **{name: array})
        assert journal.get("a")["w"].tolist() == list(range(100))


def test_a_closed_journal_takes_nothing_more(begun):
    journal = opened(begun)
    journal.close()
    with pytest.raises(ArgumentError, match="was closed"):
        journal.put("b", w=np.zeros(1))


# Only the same work goes on


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"model": "ff" * 16}, r"begun with another model; delete it, or run without --resume"),
        ({"seed": "7"}, r"another seed \(0 then, 7 now\);"),
        ({"model": "ff" * 16, "version": "0.2"}, r"another model, version \(0.1 then, 0.2 now\);"),
        ({"calibration": "cc" * 16}, r"another calibration;"),
        ({"effort": "max"}, r"another effort \(none then, max now\);"),
    ],
)
def test_other_work_is_refused_by_the_names_of_what_differs(begun, other, message):
    before = pieces(begun)
    with pytest.raises(ArgumentError, match=message):
        opened(begun, **other)
    assert pieces(begun) == before
    with opened(begun) as journal:
        assert journal.done == {"a"}


def test_a_part_that_is_gone_differs_too(begun):
    with pytest.raises(ArgumentError, match=r"another seed \(0 then, none now\);"):
        Journal.open(begun, {k: v for k, v in IDENTITY.items() if k != "seed"}, resume=True)


@pytest.mark.parametrize("other", [{}, {"seed": "7"}])
def test_without_resume_the_old_journal_is_replaced(begun, other):
    with opened(begun, resume=False, **other) as journal:
        assert (journal.resumed, journal.done, journal.dropped) == (False, frozenset(), 0)
    assert set(pieces(begun)) == {MARKER}
    with opened(begun, **other) as journal:
        assert journal.resumed


def test_a_piece_of_other_work_is_none_even_under_the_right_name(begun, tmp_path):
    with opened(tmp_path / "other", seed="7") as journal:
        journal.put("a", w=np.zeros(1))
    only_piece(begun).write_bytes(only_piece(tmp_path / "other").read_bytes())
    with opened(begun) as journal:
        assert (journal.done, journal.dropped) == (frozenset(), 1)


@pytest.mark.parametrize("resume", [True, False])
def test_a_folder_that_is_not_ours_is_left_alone(dst, resume):
    folder = journal_folder(dst)
    folder.mkdir()
    (folder / "diary.txt").write_text("dear me")
    with pytest.raises(ArgumentError, match="is in the place of the journal, but is none"):
        opened(dst, resume=resume)
    assert [p.name for p in folder.iterdir()] == ["diary.txt"]


@pytest.mark.parametrize("resume", [True, False])
def test_a_file_or_link_in_the_place_of_the_folder_is_left_alone(dst, tmp_path, resume):
    folder = journal_folder(dst)
    folder.write_text("mine")
    with pytest.raises(ArgumentError, match="but is none"):
        opened(dst, resume=resume)
    assert folder.read_text() == "mine"
    folder.unlink()
    (tmp_path / "elsewhere").mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArgumentError, match="but is none"):
        opened(dst, resume=resume)
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("resume", [True, False])
@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "[" * 100_000,
        '{"taut journal": 2, "identity": {}}',
        '{"taut journal": 1}',
        '{"taut journal": 1, "identity": {"seed": 0}}',
        '{"taut journal": 1, "identity": {}, "identity": {}}',
    ],
)
def test_a_marker_that_is_damaged_or_of_another_version_is_refused(begun, text, resume):
    marker = journal_folder(begun) / MARKER
    marker.write_text(text)
    before = pieces(begun)
    with pytest.raises(ArgumentError, match="is damaged, or of another version; delete"):
        opened(begun, resume=resume)
    assert pieces(begun) == before


def test_what_others_put_into_the_folder_stays(begun):
    folder = journal_folder(begun)
    (folder / "notes.txt").write_text("mine")
    journal = opened(begun, resume=False)
    journal.put("b", w=np.zeros(1))
    journal.discard()
    assert [p.name for p in folder.iterdir()] == ["notes.txt"]


# What is damaged is not used


@settings(max_examples=examples(60))
@given(st.data())
def test_a_piece_with_any_damage_is_dropped(tmp_path_factory, data):
    dst = tmp_path_factory.mktemp("damage") / "x"
    with opened(dst) as journal:
        journal.put("a", w=np.arange(5, dtype=np.float16), v=np.zeros((2, 3), np.int8))
    path = only_piece(dst)
    whole = path.read_bytes()
    if data.draw(st.booleans()):
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    else:
        at = data.draw(st.integers(0, len(whole) - 1))
        flip = data.draw(st.integers(1, 255))
        path.write_bytes(whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :])
    with opened(dst) as journal:
        if journal.done:  # a space of the header became another space: the same arrays
            assert journal.get("a")["w"].tolist() == [0, 1, 2, 3, 4]
            assert journal.get("a")["v"].shape == (2, 3)
        else:
            assert (journal.get("a"), journal.dropped) == (None, 1)
            assert not path.exists()


def test_damage_while_the_journal_is_open_is_seen_too(begun):
    with opened(begun) as journal:
        path = only_piece(begun)
        path.write_bytes(path.read_bytes()[:-1] + b"\1")
        assert journal.get("a") is None
        assert (journal.done, journal.dropped) == (frozenset(), 1)
        journal.put("a", w=np.ones(2))
        assert journal.get("a")["w"].tolist() == [1, 1]


def test_a_piece_under_another_name_is_dropped(begun):
    path = only_piece(begun)
    path.rename(path.with_name("0" * 32 + ".safetensors"))
    with opened(begun) as journal:
        assert (journal.done, journal.dropped) == (frozenset(), 1)


@pytest.mark.skipif(os.name == "nt", reason="POSIX links and pipes")
@pytest.mark.parametrize("kind", ["link", "hanging link", "pipe", "folder"])
def test_a_folder_with_traps_reads_and_writes_nothing_outside(begun, tmp_path, kind):
    path = only_piece(begun)
    secret = tmp_path / "secret"
    path.rename(secret)  # a whole piece, so that only the link can be at fault
    before = secret.read_bytes()
    if kind == "link":
        path.symlink_to(secret)
    elif kind == "hanging link":
        path.symlink_to(tmp_path / "made")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    with opened(begun) as journal:
        assert (journal.done, journal.dropped) == (frozenset(), 1)
        if kind != "folder":
            journal.put("a", w=np.ones(2))
            assert path.is_file() and not path.is_symlink()
    assert secret.read_bytes() == before
    assert not (tmp_path / "made").exists()


@pytest.mark.skipif(os.name == "nt", reason="POSIX links")
@pytest.mark.parametrize("link", [os.symlink, os.link])
@pytest.mark.parametrize("name", [LOCK, MARKER])
def test_a_lock_or_marker_that_is_a_link_writes_nothing_outside(begun, tmp_path, link, name):
    secret = tmp_path / "secret"
    secret.write_text("mine")
    (journal_folder(begun) / name).unlink(missing_ok=True)
    link(secret, journal_folder(begun) / name)
    with pytest.raises(ArgumentError, match=r"is a link|is damaged"):
        opened(begun, resume=False)
    assert secret.read_text() == "mine"


@pytest.mark.parametrize("key", ["../out", "/tmp/out", "a/b", "", "CON", "x" * 5000, "a\0b"])
def test_keys_are_no_paths(dst, key):
    with opened(dst) as journal:
        journal.put(key, w=np.ones(1))
    assert [p.name for p in dst.parent.iterdir()] == [journal_folder(dst).name]
    with opened(dst) as journal:
        assert journal.done == {key}


# Crashes

PUTS = """
import sys, numpy as np
from pathlib import Path
from taut.journal import Journal
journal = Journal.open(Path(sys.argv[1]), {"seed": "0"}, resume=True)
print("ready", flush=True)
for number in range(10_000):
    for key in ("a", "b"):
        journal.put(key, w=np.full(200_000, number), n=np.int64(number))
"""


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_killed_at_any_moment_it_has_whole_pieces_and_can_be_taken_over(dst):
    moment = random.Random(0)
    for _ in range(5):
        command = [sys.executable, "-c", PUTS, str(dst)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout.readline() == b"ready\n"
            time.sleep(moment.uniform(0, 0.1))
            process.kill()
        with Journal.open(dst, {"seed": "0"}, resume=True) as journal:
            assert journal.resumed
            assert journal.dropped <= 1  # the one it was at
            for key in journal.done:
                found = journal.get(key)
                assert (found["w"] == found["n"]).all()
        assert not list(journal_folder(dst).glob("*.tmp"))


def test_a_torn_piece_is_counted_and_swept_away(begun):
    path = only_piece(begun)
    path.with_name(f"{path.name}.9f86d081884c7d65.tmp").write_bytes(b"half")
    with opened(begun) as journal:
        assert (journal.done, journal.dropped) == ({"a"}, 1)
    assert set(pieces(begun)) == {MARKER, path.name}


def test_a_crash_before_the_marker_leaves_a_folder_that_can_be_taken(dst):
    folder = journal_folder(dst)
    folder.mkdir()
    (folder / LOCK).write_text("1 0\n")
    (folder / f"{MARKER}.9f86d081884c7d65.tmp").write_text("{")
    with opened(dst) as journal:
        assert not journal.resumed
    assert set(pieces(dst)) == {MARKER}


@pytest.mark.parametrize("room", [0, 100, 1000])
def test_a_full_disk_leaves_the_old_pieces(begun, monkeypatch, room):
    before, left, real = pieces(begun), room, os.write

    def write(handle: int, data: bytes | memoryview) -> int:
        nonlocal left
        if len(data) > left:
            raise OSError(errno.ENOSPC, "no room left")
        left -= len(data)
        return real(handle, data)

    with opened(begun) as journal:
        monkeypatch.setattr(os, "write", write)
        for key in ("a", "b"):
            with pytest.raises(TautError, match="no room left"):
                journal.put(key, w=np.zeros(10_000))
        monkeypatch.undo()
        assert journal.get("a")["w"].tolist() == list(range(100))
        assert journal.get("b") is None
    assert pieces(begun) == before


@pytest.mark.parametrize("room", [0, 20])
def test_a_disk_that_is_full_from_the_start_leaves_nothing(dst, monkeypatch, room):
    def write(handle: int, data: bytes | memoryview) -> int:
        if len(data) > room:
            raise OSError(errno.ENOSPC, "no room left")
        return len(data)

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(TautError, match="no room left"):
        opened(dst)
    monkeypatch.undo()
    assert not list(journal_folder(dst).glob("*"))


# One process at a time

HOLDS = """
import sys
from pathlib import Path
import taut.journal.lock
from taut.journal import Journal
taut.journal.lock._HAS_FLOCK = sys.argv[2] == "True"
journal = Journal.open(Path(sys.argv[1]), {"seed": "0"}, resume=True)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture(params=[True, False], ids=["flock", "plain"])
def flock(request, monkeypatch) -> bool:
    if request.param and os.name == "nt":
        pytest.skip("no flock")
    monkeypatch.setattr("taut.journal.lock._HAS_FLOCK", request.param)
    return request.param


@pytest.mark.parametrize("resume", [True, False])
def test_a_second_process_is_refused_until_the_first_is_dead(dst, flock, resume):
    command = [sys.executable, "-c", HOLDS, str(dst), str(flock)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:
        assert process.stdout.readline().strip() == b"ready"
        with pytest.raises(ArgumentError, match=f"process {process.pid} is at work on it; wait"):
            Journal.open(dst, {"seed": "0"}, resume=resume)
        process.kill()
    assert (journal_folder(dst) / LOCK).exists()
    with Journal.open(dst, {"seed": "0"}, resume=resume) as journal:
        assert journal.resumed is resume
    assert set(pieces(dst)) == {MARKER}
    assert not (journal_folder(dst) / LOCK).exists()


def test_the_same_process_has_it_once_at_a_time_too(dst, flock):
    journal = opened(dst)
    with pytest.raises(ArgumentError, match=f"process {os.getpid()} is at work"):
        opened(dst)
    journal.close()
    second = opened(dst)
    del second  # forgotten by work that failed
    opened(dst).close()


@pytest.mark.parametrize("owner", ["", "x", "-5 0", "PID 1.0", "9" * 40 + " 0", "1 nan"])
def test_a_lock_of_a_dead_process_or_of_another_with_its_number_is_taken_over(begun, flock, owner):
    (journal_folder(begun) / LOCK).write_text(owner.replace("PID", str(os.getpid())))
    with opened(begun) as journal:
        assert journal.done == {"a"}


def test_of_many_that_find_a_dead_ones_lock_exactly_one_takes_it(begun, flock):
    (journal_folder(begun) / LOCK).write_text("1 1.0\n")
    together = threading.Barrier(8)

    def race(_: int) -> Journal | None:
        together.wait()
        try:
            return opened(begun)
        except ArgumentError as error:
            assert "is at work" in str(error)
            return None

    with ThreadPoolExecutor(8) as pool:
        (winner,) = [journal for journal in pool.map(race, range(8)) if journal]
    assert winner.done == {"a"}
    winner.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX forks")
def test_a_fork_does_not_give_back_the_lock_of_its_parent(begun):
    journal = opened(begun)
    child = os.fork()
    if child == 0:
        journal.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    with pytest.raises(ArgumentError, match="is at work"):
        opened(begun)
    journal.close()
