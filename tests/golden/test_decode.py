"""The script that wheels are checked with: it passes on what is here, and notices a changed bit."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent


def run(golden: Path) -> subprocess.CompletedProcess[str]:
    """The script as a wheel's test calls it, on one golden folder."""
    command = [sys.executable, str(GOLDEN / "decode.py"), str(golden)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_decodes_every_golden_file_that_there_is():
    arrays = len(list((GOLDEN / "arrays").glob("*.safetensors")))
    files = len(list((GOLDEN / "files").glob("*.taut.safetensors")))
    done = run(GOLDEN)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{arrays} arrays, {files} files, 0 faults\n")


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ("files/model.safetensors", "exact.taut"),  # what a file should decode to
        ("files/lossy2.taut.safetensors", "lossy2.taut"),  # a file, whose checksum then is wrong
        ("files/modules2.taut.safetensors", "modules2.taut"),
        ("arrays/stored.safetensors", "stored"),
    ],
)
def test_it_names_the_file_in_which_a_bit_changed(changed, named, tmp_path):
    golden = shutil.copytree(GOLDEN, tmp_path / "golden")
    data = bytearray((golden / changed).read_bytes())
    data[-1] ^= 1
    (golden / changed).write_bytes(data)
    done = run(golden)
    assert done.returncode == 1
    assert {line.split(".safetensors: ")[0] for line in done.stderr.splitlines()} == {named}


def test_a_folder_without_golden_files_is_a_fault(tmp_path):
    assert run(tmp_path).returncode == 1
