"""Changes lines of the package one at a time, and says which changes no test noticed.

    python tools/mutants.py --count 30 --seed 1

Lines are drawn from the rooms of `TESTS`; each is changed in a copy of the tree, and the tests of
its room are run there. What survives is printed as `file:line: before -> after`. `mutants.toml`
beside this file holds the changes that may survive, each with the reason. The exit code is 1 if
another one did.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = Path(__file__).with_suffix(".toml")
LIMIT = 300  # seconds: a change that makes the tests run for ever was noticed

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

_SWAPPED: dict[type[ast.AST], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.And: ("and", "or"),
    ast.Or: ("or", "and"),
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "//"),
    ast.FloorDiv: ("//", "*"),
    ast.Div: ("/", "*"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
}


@dataclass(frozen=True)
class Mutant:
    """One change: the bytes from `begin` to `end` of a file become `text`."""

    file: str
    line: int
    begin: int
    end: int
    text: str

    def applied(self, data: bytes) -> bytes:
        """The file's bytes after the change."""
        return data[: self.begin] + self.text.encode() + data[self.end :]

    def lines(self, data: bytes) -> tuple[str, str]:
        """The line before and after; what was removed over several lines is cut short."""
        after = self.applied(data)
        start = data.rfind(b"\n", 0, self.begin) + 1
        one, other = (text[start:].split(b"\n", 1)[0].strip().decode() for text in (data, after))
        return one, other


class _Walk(ast.NodeVisitor):
    """Collects what can be changed in one file; not annotations, decorators or messages."""

    def __init__(self, file: str, data: bytes) -> None:
        self.file, self.data = file, data
        self.starts = [0]
        for line in data.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))
        self.found: list[Mutant] = []

    def _at(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None and node.end_col_offset is not None
        return (
            self.starts[node.lineno - 1] + node.col_offset,
            self.starts[node.end_lineno - 1] + node.end_col_offset,
        )

    def _change(self, begin: int, end: int, text: str) -> None:
        line = self.data.count(b"\n", 0, begin) + 1
        self.found.append(Mutant(self.file, line, begin, end, text))

    def _swap(self, left: ast.expr, operator: ast.AST, right: ast.expr) -> None:
        """Another operator between two operands."""
        before, after = _SWAPPED.get(type(operator), ("", ""))
        begin, end = self._at(left)[1], self._at(right)[0]
        at = self.data[begin:end].find(before.encode()) if before else -1
        if at >= 0:
            self._change(begin + at, begin + at + len(before), after)

    def visit(self, node: ast.AST) -> None:
        if not isinstance(node, ast.JoinedStr):  # no messages; and their places are not told
            super().visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        for part in (*node.args.defaults, *node.args.kw_defaults, *node.body):
            if part is not None:
                self.visit(part)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for part in node.body:
            self.visit(part)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_Compare(self, node: ast.Compare) -> None:
        terms = [node.left, *node.comparators]
        for left, operator, right in zip(terms, node.ops, terms[1:], strict=False):
            self._swap(left, operator, right)
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        for left, right in zip(node.values, node.values[1:], strict=False):
            self._swap(left, node.op, right)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        self._swap(node.left, node.op, node.right)
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not):
            self._change(self._at(node)[0], self._at(node.operand)[0], "")
        if ast.unparse(node) != "-1":  # "the last", or "as many as there are"
            self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test) != "TYPE_CHECKING":
            for text in ("True", "False"):
                self._change(*self._at(node.test), text)
            self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool):
            self._change(*self._at(node), str(not value))
        elif isinstance(value, int):
            self._change(*self._at(node), str(value + 1))
        elif isinstance(value, float):
            self._change(*self._at(node), repr(10 * value or 1.0))

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is not None and ast.unparse(node.value) != "None":
            self._change(*self._at(node.value), "None")
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call):
            self._change(*self._at(node), "pass")
            self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        self._change(*self._at(node), "pass")


def candidates() -> list[Mutant]:
    """All changes of all modules that have tests in `TESTS`."""
    found: list[Mutant] = []
    for path in sorted((ROOT / "src").rglob("*.py")):
        file = path.relative_to(ROOT).as_posix()
        if path.name != "__init__.py" and tests_of(file):
            walk = _Walk(file, path.read_bytes())
            walk.visit(ast.parse(walk.data))
            found += walk.found
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


def noticed(home: Path, tests: tuple[str, ...]) -> bool:
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
            said, _ = run.communicate(timeout=LIMIT)
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

        def tried(mutant: Mutant | tuple[str, ...]) -> bool:
            home = homes.get()
            try:
                if isinstance(mutant, tuple):
                    return noticed(home, mutant)
                place, data = home / mutant.file, (ROOT / mutant.file).read_bytes()
                place.write_bytes(mutant.applied(data))
                try:
                    return noticed(home, tests_of(mutant.file))
                finally:
                    place.write_bytes(data)
            finally:
                homes.put(home)

        with ThreadPoolExecutor(jobs) as pool:
            rooms = sorted({tests_of(mutant.file)[1:] for mutant in mutants})
            for tests, fails in zip(rooms, pool.map(tried, rooms), strict=True):
                if fails:
                    raise SystemExit(f"fails without a change: pytest {' '.join(tests)}")
            for mutant, killed in zip(mutants, pool.map(tried, mutants), strict=True):
                if not killed:
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
    killed = len(mutants) - left
    print(f"{len(mutants)} changes: {killed} noticed, {left} survived, {explained} of them may")
    return int(left > explained)


if __name__ == "__main__":
    sys.exit(main())
