"""A few hostile bytes cost neither memory nor work, and the command says so by its exit status."""

from __future__ import annotations

import json
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from taut.cli.app import app

from .conftest import Victim
from .forge import Forgery, entry, varint, with_header
from .test_headers import entries_of
from .test_streams import HEADERS, header

ROOM = 400_000_000  # bytes of address space beyond what the interpreter has before it begins
PEAK = 250_000_000  # bytes of memory
CALLS = 20_000  # of functions, and their returns

# Reads each file named on stdin in turn, under a limit, and prints what it said and what it cost.
READER = """
import json, resource, sys
from pathlib import Path
import taut
from taut.container import TautFile
from taut.errors import TautError

def status(key):
    return next(int(line.split()[1]) << 10 for line in open("/proc/self/status")
                if line.startswith(key))

def note(frame, event, argument):
    global calls
    calls += 1

limit = status("VmSize") + int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for path in sys.stdin.read().split():
    for act in (taut.verify, lambda p: TautFile(p).load_all(), taut.info):
        Path("/proc/self/clear_refs").write_text("5")
        before, said, calls = status("VmRSS"), ["fine", ""], 0
        sys.setprofile(note)
        try:
            act(path)
        except TautError as error:
            said = [type(error).__name__, str(error)]
        except MemoryError as error:
            said = ["MemoryError", str(error)]
        finally:
            sys.setprofile(None)
        cost = [status("VmHWM") - before, calls]
        print(json.dumps([path, *said, *cost]), flush=True)
"""


def zeros(size: int) -> bytes:
    """A zlib stream of so many zero bytes: one block again and again, since a flush forgets."""
    stream = zlib.compressobj(9, wbits=-15)
    block = stream.compress(bytes(1 << 20)) + stream.flush(zlib.Z_FULL_FLUSH)
    adler = (size % 65521) << 16 | 1
    return b"\x78\xda" + block * (size >> 20) + stream.flush() + adler.to_bytes(4, "big")


def row_stream(count: int) -> bytes:
    """The header of an array of `count` rows, all in table 1: eight bytes that claim any number."""
    rest = bytes([0, 0, 4, 0, 0, 0, 2, 2, 1, 1]) + bytes(8)
    return header(1, 1, count, 1, 1, rest)


assert zlib.decompress(zeros(3 << 20)) == bytes(3 << 20)


def bombs(small: Victim, large: Victim) -> dict[str, bytes]:
    sound, found = Forgery.of(small.data), {}
    ten_gigabytes = zeros(10 << 30)
    found["zeros"] = sound.around(ten_gigabytes)
    found["spaces"] = sound.around(zlib.compress(b" " * 90_000_000, 9))
    lists = b'{"version":1,"source":[' + b"[],"
    found["lists"] = sound.around(zlib.compress(lists + b"[]," * 20_000_000 + b"[]]}", 9))
    noise = np.random.default_rng(10).bytes(600_000).hex().encode()
    lists = b'{"version":1,"x":"' + noise + b'","source":['
    found["many lists"] = sound.around(zlib.compress(lists + b"[]," * 20_000_000 + b"[]]}", 9))
    found["deep"] = sound.around(zlib.compress(b"[" * 50_000_000, 9))
    found["digits"] = sound.around(zlib.compress(b"1" * 50_000_000, 9))
    for name, part in {
        "rows": row_stream(90_000 * 4),
        "2^40 rows": row_stream(1 << 40),
        "2^56 rows": row_stream(1 << 56),
        "2^30 rows": row_stream(1 << 30),
        "2^48 constants": header(3, 4, 1 << 46, 1, 1, bytes(4)),
    }.items():
        forgery = Forgery.of(large.data)
        forgery.parts["zeros"] = [part]
        found[name] = forgery.signed()
    forgery = Forgery.of(small.data)
    group = next(iter(forgery.parts))
    forgery.parts[group] = [header(3, 4, 1 << 40, 1, 1, bytes(4))]
    found["group"] = forgery.signed()
    forgery = Forgery.of(small.data)
    forgery.parts[group] = [forgery.parts[group][0][:6] + varint(1 << 50) + b"\1\1"]
    found["group of rows"] = forgery.signed()
    texts, body, index = entries_of(small)
    texts["huge"] = entry("huge", "U8", [1 << 62], len(body), len(body) + (1 << 62))
    found["entry"] = with_header(",".join(texts.values()) + "}", body, index)
    found["length"] = (99_999_999).to_bytes(8, "little") + small.data[8:]
    return found


@pytest.mark.slow("a process that reads bombs, measured from outside")
@pytest.mark.skipif(sys.platform != "linux", reason="measures memory through /proc")
def test_bombs_cost_neither_memory_nor_work(small: Victim, large: Victim, tmp_path: Path) -> None:
    paths = []
    for number, (name, data) in enumerate(bombs(small, large).items()):
        paths.append(tmp_path / f"{number}-{name.replace(' ', '-')}")
        paths[-1].write_bytes(data)
    process = subprocess.run(
        [sys.executable, "-c", READER, str(ROOM)],
        input="\n".join(map(str, paths)),
        capture_output=True,
        text=True,
        timeout=240,
        env={"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": ":".join(sys.path)},
        check=False,
    )
    assert process.returncode == 0, process.stderr
    lines = [json.loads(line) for line in process.stdout.splitlines()]
    assert len(lines) == 3 * len(paths)
    for number, (path, kind, message, peak, calls) in enumerate(lines):
        if number % 3 == 2 and kind == "fine":
            continue  # `info` decodes nothing and may not notice
        assert kind in ("FormatError", "VerifyError"), (path, kind, message)
        assert message.startswith(f"{path}: ")
        assert peak < PEAK and calls < CALLS, (path, peak, calls)


THREADS = """
import resource, sys
import numpy as np
from taut.coding import Job, decode, encode_lossless
values = np.random.default_rng(0).standard_normal((40_000, 256)).astype(np.float32)
coded = encode_lossless(values)
out = np.empty_like(values)
limit = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() + int(sys.argv[1])
before = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
assert len(coded.chunks) > 30
try:
    decode([Job(coded.header, coded.chunks, out)], threads=len(coded.chunks))
except MemoryError:
    pass  # said, not suffered
else:
    resource.setrlimit(resource.RLIMIT_AS, before)
    assert out.tobytes() == values.tobytes()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory through /proc")
def test_threads_that_cannot_be_had_are_done_without() -> None:
    """Each wants megabytes of address space for its stack; there is room for a few."""
    subprocess.run(
        [sys.executable, "-c", THREADS, "50000000"],
        env={"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": ":".join(sys.path)},
        check=True,
    )


@pytest.mark.slow("a process for each file")
def test_the_command_exits_4_on_damage_and_0_on_a_sound_file(
    small: Victim, large: Victim, lossy: Victim, tmp_path: Path
) -> None:
    path = tmp_path / "file"

    def verify(data: bytes) -> tuple[int, str]:
        path.write_bytes(data)
        result = CliRunner().invoke(app, ["verify", str(path)])
        return result.exit_code, result.stderr

    for victim in (small, large, lossy):
        data = victim.data
        assert verify(data)[0] == 0
        middle = len(data) // 2
        flipped = data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :]
        for bad in (b"", data[:7], data[:middle], data[:-1], data + b"\0", flipped, bytes(middle)):
            code, said = verify(bad)
            assert code == 4
            assert said.startswith(f"taut: {path}: ") and said.count("\n") == 1
    for lie in HEADERS.values():
        forgery = Forgery.of(large.data)
        forgery.parts["zeros"] = [lie]
        code, said = verify(forgery.signed())
        assert code == 4 and 'tensor "zeros"' in said
    assert verify(Forgery.of(small.data).around(zlib.compress(b"{}")))[0] == 4
