"""The command as a process: signals, closed pipes, and a terminal that is none."""

import errno
import json
import os
import shlex
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import safetensors.numpy
from tests.thorough import sample

import taut

# Whoever runs the tests may ignore signals, and children inherit that: here they count.
BEGIN = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
from taut.cli import main
main()
"""
START = [sys.executable, "-c", BEGIN]
HANGUP = getattr(signal, "SIGHUP", signal.SIGTERM)


@pytest.mark.skipif(os.name == "nt", reason="signals as shells send them")
@pytest.mark.parametrize(
    ("delay", "signalled", "code", "word"),
    [
        (0.2, signal.SIGINT, 130, "interrupted"),
        *sample(
            [
                (0.1, signal.SIGTERM, 143, "terminated"),
                (0.3, HANGUP, 129, "its terminal is gone"),
                *((delay, signal.SIGINT, 130, "interrupted") for delay in (0.05, 0.4, 0.8)),
            ],
            "a process for each signal and moment",
            keep=2,
        ),
    ],
)
def test_a_signal_leaves_nothing_half_written(minilm, tmp_path, delay, signalled, code, word):
    target = tmp_path / "out.taut.safetensors"
    process = subprocess.Popen(
        [sys.executable, "-c", BEGIN, "compress", minilm / "model.safetensors", "-o", target],
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


def test_the_first_bar_waits_for_no_heavy_import(tmp_path):
    """PyTorch takes seconds to import: until then there would be nothing to see."""
    (tmp_path / "build.py").write_text("import torch\n\n\ndef score(net):\n    return 1\n")
    watch = (
        "import sys\nsys.stderr.isatty = lambda: True\n"
        "from rich.progress import Progress\n"
        "def start(self):\n    print('torch' in sys.modules)\n    sys.exit()\n"
        "Progress.start = start\nfrom taut.cli import main\nmain()"
    )
    words = ["compress", "build.py:model", "--size", "4x", "--score", "build.py:score"]
    done = subprocess.run(
        [sys.executable, "-c", watch, *words], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout == "False\n"


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


def shell(command, *args, cwd, **more):
    """Run a shell's command, in which `$TAUT` is the program; gives code, stdout and stderr."""
    program = f"{shlex.quote(sys.executable)} -c 'from taut.cli import main; main()'"
    text = command.replace("$TAUT", program)
    return subprocess.run(["sh", "-c", text, "sh", *args], cwd=cwd, capture_output=True, **more)


posix = pytest.mark.skipif(os.name == "nt", reason="a POSIX shell")


@posix
def test_through_pipes_a_model_comes_back(model):
    done = shell(
        "cat net.safetensors | $TAUT compress - -o - -q | tee kept | $TAUT decompress - -o - -q",
        cwd=model.parent,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == model.read_bytes()
    kept = model.with_name("kept")
    kept.rename(kept.with_name("kept.taut.safetensors"))
    assert shell("$TAUT verify kept.taut.safetensors -q", cwd=model.parent).returncode == 0
    assert sorted(path.name for path in model.parent.iterdir()) == [
        "kept.taut.safetensors",
        "net.safetensors",
    ]


@posix
def test_what_comes_in_is_verified_and_told_of_under_its_name(run, model):
    run("compress", model, "-q")
    file = model.with_name("net.taut.safetensors")
    done = shell('$TAUT verify - < "$1"', file, cwd=model.parent)
    assert done.returncode == 0
    assert done.stderr.startswith(b"  whole      standard input: 4 tensors")
    assert b"(" in shell('$TAUT info - -q < "$1"', file, cwd=model.parent).stdout
    damaged = bytearray(file.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    for command in ("verify -", "decompress - -o x"):
        done = shell(f"$TAUT {command}", cwd=model.parent, input=bytes(damaged))
        assert done.returncode == 4
        assert done.stderr.startswith(b"taut: standard input: tensor ")
    assert not model.with_name("x").exists()


@posix
@pytest.mark.parametrize(
    ("command", "code", "told"),
    [
        ("compress net.safetensors -f", 0, ""),
        ("info net.taut.safetensors", 1, "taut: standard output is closed\n"),
        ("compress net.safetensors -f --json -q", 1, "taut: standard output is closed\n"),
        ("compress net.safetensors -o - -q", 2, "taut: -o -: standard output is closed\n"),
    ],
)
def test_a_closed_stdout_is_an_error_only_to_those_who_need_it(run, model, command, code, told):
    run("compress", model, "-q")
    done = shell(f"$TAUT {command} >&-", cwd=model.parent)
    assert done.returncode == code
    assert told.encode() in done.stderr
    assert b"Traceback" not in done.stderr
    assert taut.verify(model.with_name("net.taut.safetensors")).tensors == 4


@posix
def test_closed_streams_are_not_taken_by_the_file_that_is_written(model):
    """What is opened first would get their numbers, and then what others print."""
    done = shell("$TAUT compress net.safetensors <&- >&- 2>&-", cwd=model.parent)
    assert done.returncode == 0
    assert taut.verify(model.with_name("net.taut.safetensors")).tensors == 4


@posix
def test_what_is_said_is_not_data_where_stderr_is_closed(run, model):
    done = shell("$TAUT compress net.safetensors --json 2>&-", cwd=model.parent)
    assert json.loads(done.stdout)["parameters"] > 0


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes")
@pytest.mark.parametrize(
    "suffix", sample(["safetensors", "onnx", "pt"], "a process for each kind of file")
)
def test_a_name_that_is_no_unicode(tmp_path, suffix):
    source = tmp_path / os.fsdecode(b"caf\xe9." + suffix.encode())
    values = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    if suffix == "safetensors":
        source.write_bytes(safetensors.numpy.save({"w": values}))
    elif suffix == "pt":
        torch = pytest.importorskip("torch")
        with source.open("wb") as file:
            torch.save({"w": torch.from_numpy(values)}, file)
    else:
        onnx = pytest.importorskip("onnx")
        constant = onnx.numpy_helper.from_array(values, "w")
        node = onnx.helper.make_node("Identity", ["w"], ["y"])
        out = onnx.helper.make_tensor_value_info("y", 1, None)
        graph = onnx.helper.make_graph([node], "g", [], [out], [constant])
        source.write_bytes(onnx.helper.make_model(graph).SerializeToString())
    before = source.read_bytes()
    done = shell('$TAUT compress "$1"', source, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    made = tmp_path / os.fsdecode(b"caf\xe9.taut.safetensors")
    assert np.array_equal(taut.load(made)["w"], values)
    back = tmp_path / os.fsdecode(b"b\xe9." + (b"onnx" if suffix == "onnx" else b"safetensors"))
    assert shell('$TAUT decompress "$1" -o "$2"', made, back, cwd=tmp_path).returncode == 0
    assert suffix == "pt" or back.read_bytes() == before
    out = tmp_path / os.fsdecode(b"b\xe9.gguf")
    done = shell('$TAUT export "$1" "$2"', made, out, cwd=tmp_path)
    assert (done.returncode, b"is not valid Unicode" in done.stderr) == (2, True)


@pytest.mark.slow("waits for processes that might wait for a pipe")
@posix
def test_a_pipe_as_source_is_refused_and_not_waited_for(model):
    os.mkfifo(model.with_name("pipe.safetensors"))
    for command in ("compress", "info", "verify", "analyze", "decompress", "frontier"):
        done = shell(f"$TAUT {command} pipe.safetensors", cwd=model.parent, timeout=60)
        assert done.returncode == 2, command
        assert b"pipe.safetensors: is a pipe or a device" in done.stderr
    done = shell("$TAUT compress net.safetensors -o pipe.safetensors -f", cwd=model.parent)
    assert (done.returncode, b"is not a plain file" in done.stderr) == (2, True)


@posix
def test_characters_that_stdout_has_not_are_written_as_escapes(tmp_path):
    source = tmp_path / "net.safetensors"
    source.write_bytes(safetensors.numpy.save({"\u00e9\u6f22": np.ones(4, np.float32)}))
    shell("$TAUT compress net.safetensors -q", cwd=tmp_path)
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = shell("$TAUT info net.taut.safetensors", cwd=tmp_path, env=ascii_only)
    assert done.returncode == 0, done.stderr
    assert b"\\xe9\\u6f22" in done.stdout


@posix
@pytest.mark.parametrize("option", ["--help", "--version", "compress --help"])
def test_help_without_stdout_is_a_line_and_no_traceback(tmp_path, option):
    done = shell(f"$TAUT {option} >&-", cwd=tmp_path, text=True)
    assert (done.returncode, done.stderr) == (1, "taut: standard output is closed\n")
