"""Tab in bash, zsh and fish: the shells themselves, where they are installed."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
ENV = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "TERM": "dumb"}
OFFERED = {
    "bash": "COMP_LINE='{line}'; COMP_POINT=${{#COMP_LINE}}; _taut_completion taut; "
    "printf '%s\\n' \"${{COMPREPLY[@]}}\" END",
    "fish": "complete -C '{line}'; echo END",
}


def there(shell: str) -> str:
    path = shutil.which(shell)
    if path is None or not (BIN / "taut").exists():
        pytest.skip(f"{shell}, or the command itself, is not installed")
    return path


def script(shell: str, folder: Path) -> Path:
    """The script, in a folder with a file to find."""
    printed = subprocess.check_output([BIN / "taut", "completion", shell], text=True)
    (folder / "_taut").write_text(printed)
    (folder / "build.py").touch()
    return folder / "_taut"


def offered(shell: str, folder: Path, *lines: str) -> list[list[str]]:
    """What the shell offers for each line, without what it says of it."""
    asked = [f"source {script(shell, folder)}", *(OFFERED[shell].format(line=x) for x in lines)]
    alone = {"bash": "--norc", "fish": "--no-config"}[shell]
    done = subprocess.run(
        [there(shell), alone, "-c", "\n".join(asked)],
        cwd=folder,
        env=ENV,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stderr == ""
    parts = done.stdout.split("END\n")[: len(lines)]
    return [[one.split("\t")[0] for one in part.split("\n") if one] for part in parts]


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_tab_offers_options_and_values(shell, tmp_path):
    there(shell)
    lines = ("taut compress --max-d", "taut info --sort by", "taut info --sort=by", "taut info bu")
    option, value, joined, file = offered(shell, tmp_path, *lines)
    assert option == ["--max-drop"]
    assert value == ["bytes"]
    # To bash a word begins at `=`, and it looks for files itself where nothing is offered.
    assert joined == (["bytes"] if shell == "bash" else ["--sort=bytes"])
    assert file == ([] if shell == "bash" else ["build.py"])


def test_zsh_completes_at_the_first_tab(tmp_path):
    """From `fpath`, as the pages say: the script is run as the function at its first call."""
    zsh = there("zsh")
    script("zsh", tmp_path)
    setup = f"fpath=({tmp_path} $fpath); PS1='> '; autoload -Uz compinit; compinit -u -D\n"
    (tmp_path / ".zshrc").write_text(setup)
    assert types([zsh, "-d", "-i"], tmp_path, "taut info --sort=by\t", "--sort=bytes")


def types(command: list[str], folder: Path, typed: str, word: str) -> bool:
    """Whether a word is shown after something was typed on a terminal of its own."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=ENV | {"ZDOTDIR": str(folder)},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        if not waited(ours, "> "):
            return False
        os.write(ours, typed.encode())
        return waited(ours, word)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def waited(terminal: int, word: str, seconds: float = 30) -> bool:
    """Whether a word is shown before the time is over."""
    seen, end = b"", time.monotonic() + seconds
    while word.encode() not in seen:
        ready = select.select([terminal], [], [], max(0.0, end - time.monotonic()))[0]
        if not ready:
            return False
        seen += os.read(terminal, 65536)
    return True
