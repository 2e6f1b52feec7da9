"""Changes lines of the package one at a time, and says which changes no test noticed.

    python tools/mutants.py --count 30 --seed 1

Lines are drawn from the rooms of `TESTS`; each is changed in a copy of the tree, and the tests of
its room are run there. What survives is printed as `file:line: before -> after`. `mutants.toml`
beside this file holds the changes that may survive, each with the reason. The exit code is 1 if
another one did.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from queue import SimpleQueue

from mutations import Mutant, changes

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = Path(__file__).with_suffix(".toml")
SLOWER = 5  # times what the tests take without a change: then they would run for ever

_VERBS = ("tests/verbs/test_compress.py", "tests/loading/test_restore.py")

# Modules, the first pattern that fits, and the tests that hold them. Quick ones come first.
TESTS: dict[str, tuple[str, ...]] = {
    "src/taut/scheme.py": ("tests/test_scheme.py",),
    "src/taut/container/model_folder.py": ("tests/container/test_durable.py", *_VERBS),
    "src/taut/container/info.py": (*_VERBS, "tests/cli/test_info_verify.py"),
    "src/taut/container/*.py": ("tests/container", "tests/attacks/test_indexes.py"),
    "src/taut/io/*.py": ("tests/io", "tests/verbs/test_onnx_source.py"),
    "src/taut/coding/[!_]*.py": ("tests/coding",),
    "src/taut/planning/*.py": ("tests/planning", "tests/compression"),
    "src/taut/encoding/facts.py": ("tests/verbs/test_analyze.py", "tests/analysis"),
    "src/taut/encoding/*.py": ("tests/encoding", "tests/compression", *_VERBS),
    "src/taut/journal/*.py": ("tests/journal",),
    "src/taut/scoring/criteria.py": (
        "tests/scoring/test_criteria.py",
        "tests/verbs/test_frontier.py",
    ),
    "src/taut/scoring/*.py": ("tests/scoring", "tests/evaluation/test_fidelity.py"),
    "src/taut/sweep/*.py": ("tests/sweep", "tests/verbs/test_frontier.py"),
    "src/taut/calibration/search.py": ("tests/calibration/test_search.py",),
}

# The editable install would find the working tree before the copy.
_SITE = """
import sys
sys.meta_path[:] = [f for f in sys.meta_path if type(f).__name__ != "ScikitBuildRedirectingFinder"]
"""


def candidates() -> list[Mutant]:
    """All changes of all modules that have tests in `TESTS`."""
    found: list[Mutant] = []
    for path in sorted((ROOT / "src").rglob("*.py")):
        file = path.relative_to(ROOT).as_posix()
        if path.name != "__init__.py" and tests_of(file):
            found += changes(file, path.read_bytes())
    return found


def tests_of(file: str) -> tuple[str, ...]:
    """The tests that hold a module: its doctests, then those of its room."""
    tests = next((t for pattern, t in TESTS.items() if fnmatch(file, pattern)), ())
    return tests and (file, *tests)


def drawn(count: int, seed: int, only: str) -> list[Mutant]:
    """One change of each of `count` lines."""
    lines: dict[tuple[str, int], list[Mutant]] = {}
    for mutant in candidates():
        if fnmatch(mutant.file, f"*{only}*"):
            lines.setdefault((mutant.file, mutant.line), []).append(mutant)
    choice = random.Random(seed)
    return [choice.choice(lines[at]) for at in choice.sample(sorted(lines), min(count, len(lines)))]


def allowed() -> dict[tuple[str, str, str], str]:
    """Why a change may survive, by file and the line before and after."""
    if not ALLOWED.exists():
        return {}
    table = tomllib.loads(ALLOWED.read_text(encoding="utf-8"))
    return {(one["file"], one["before"], one["after"]): one["why"] for one in table["may"]}


def copied(where: Path) -> Path:
    """A copy of what git would keep of the tree, and of the compiled core."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (where / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, where / name)
    from taut import _core

    shutil.copy(_core.__file__, where / "src" / "taut")
    (where / "src" / "sitecustomize.py").write_text(_SITE)
    return where


def noticed(home: Path, tests: tuple[str, ...], limit: float | None = None) -> bool:
    """Whether the tests of a copy fail; a run that has no end counts as failed."""
    words = ["-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--no-header", *tests]
    more = {"PYTHONPATH": str(home / "src"), "PYTHONDONTWRITEBYTECODE": "1", "CI": "1"}
    more |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, *words],
        cwd=home,
        env=os.environ | more,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as run:
        try:
            said, _ = run.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            run.kill()
            return True
    if run.returncode not in (0, 1, 2):
        raise SystemExit(f"pytest {' '.join(tests)} could not be run:\n{said}")
    return run.returncode != 0


def survivors(mutants: list[Mutant], jobs: int) -> Iterator[Mutant]:
    """The changes that no test notices, as they are found.

    Raises SystemExit where the tests fail without a change: then nothing could be told.
    """
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        homes: SimpleQueue[Path] = SimpleQueue()
        for number in range(jobs):
            homes.put(copied(Path(folder) / str(number)))

        @contextmanager
        def lent() -> Iterator[Path]:
            home = homes.get()
            try:
                yield home
            finally:
                homes.put(home)

        def sound(tests: tuple[str, ...]) -> float:
            with lent() as home:
                began = time.monotonic()
                if noticed(home, tests):
                    raise SystemExit(f"fails without a change: pytest {' '.join(tests)}")
                return 60 + SLOWER * (time.monotonic() - began)

        def killed(mutant: Mutant) -> bool:
            tests, data = tests_of(mutant.file), (ROOT / mutant.file).read_bytes()
            with lent() as home:
                (home / mutant.file).write_bytes(mutant.applied(data))
                try:
                    return noticed(home, tests, limits[tests[1:]])
                finally:
                    (home / mutant.file).write_bytes(data)

        with ThreadPoolExecutor(jobs) as pool:
            rooms = sorted({tests_of(mutant.file)[1:] for mutant in mutants})
            limits = dict(zip(rooms, pool.map(sound, rooms), strict=True))
            for mutant, fell in zip(mutants, pool.map(killed, mutants), strict=True):
                if not fell:
                    yield mutant


def main() -> int:
    """Draw, try, tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=30, help="lines to change")
    parser.add_argument("--seed", type=int, default=1, help="which lines")
    parser.add_argument("--only", default="", help="a part of the names of files")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    why = allowed()
    mutants = drawn(asked.count, asked.seed, asked.only)
    left, explained = 0, 0
    for mutant in survivors(mutants, max(1, min(asked.jobs, len(mutants)))):
        before, after = mutant.lines((ROOT / mutant.file).read_bytes())
        reason = why.get((mutant.file, before, after))
        left, explained = left + 1, explained + (reason is not None)
        told = f"   may survive: {reason}" if reason else ""
        print(f"{mutant.file}:{mutant.line}: {before} -> {after}{told}", flush=True)
    for file, line, _ in why:
        lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
        if line not in map(str.strip, lines):
            print(f"{ALLOWED.name}: {file} has no such line any more: {line}")
    killed = len(mutants) - left
    print(f"{len(mutants)} changes: {killed} noticed, {left} survived, {explained} of them may")
    return int(left > explained)


if __name__ == "__main__":
    sys.exit(main())
