"""The project has one name; the one that it was begun under stands nowhere any more."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
OLD = "laco" + "nic"
HISTORY = {"CHANGELOG.md", "tests/golden/README.md"}  # where the change of name is told


def tracked() -> list[Path]:
    """Files of the repository: those that git knows, or all below it where git is not there."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    names = listed.stdout.split("\0")[:-1] if listed.returncode == 0 else []
    folders = ("src", "csrc", "tests", "docs", "bench", "examples")
    found = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    return [ROOT / name for name in names] or [path for path in found if path.suffix != ".pyc"]


def test_the_old_name_stands_nowhere() -> None:
    files = [path for path in tracked() if path.is_file()]
    assert len(files) > 300
    old = {
        path.relative_to(ROOT).as_posix()
        for path in files
        if OLD in path.name.lower() or OLD.encode() in path.read_bytes().lower()
    }
    assert old <= HISTORY
