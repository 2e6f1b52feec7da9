"""The command as a process: signals, closed pipes, and a terminal that is none."""

import errno
import os
import signal
import subprocess
import sys
import time

import pytest

START = [sys.executable, "-c", "from taut.cli import main; main()"]
# As a terminal starts it: a shell's background jobs inherit that signals are ignored.
TERMINAL = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
from taut.cli import main
main()
"""


@pytest.mark.skipif(os.name == "nt", reason="signals as shells send them")
@pytest.mark.parametrize(
    ("signalled", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
@pytest.mark.parametrize("delay", [0.05, 0.2, 0.4, 0.8])
def test_a_signal_leaves_nothing_half_written(minilm, tmp_path, delay, signalled, code, word):
    target = tmp_path / "out.taut.safetensors"
    process = subprocess.Popen(
        [sys.executable, "-c", TERMINAL, "compress", minilm / "model.safetensors", "-o", target],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stderr.readline()  # the command has begun, its imports are done
    time.sleep(delay)
    process.send_signal(signalled)
    _, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    if target.exists():  # a fast machine was done before the signal came
        assert list(tmp_path.iterdir()) == [target]
        subprocess.run([*START, "verify", target], check=True)
    else:
        assert process.returncode == code
        assert err.splitlines()[-1] == f"taut: {word}"
        assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="pipes as shells make them")
def test_a_closed_pipe_is_quiet(run, model):
    run("compress", model, "-q")
    process = subprocess.Popen(
        [*START, "info", model.with_name("net.taut.safetensors"), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=60) == 141


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device that is always full")
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_full_disk_behind_stdout_is_one_line(run, model, options):
    run("compress", model, "-q")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*START, "info", model.with_name("net.taut.safetensors"), *options],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (done.returncode, done.stderr) == (1, f"taut: {os.strerror(errno.ENOSPC)}\n")
