"""Every command of the bench that is quoted anywhere can be typed: script, options and choices."""

import importlib
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "bench"
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *ROOT.glob("docs/**/*.md"),
    *BENCH.rglob("*.md"),
]
SCRIPTS = [p for p in BENCH.rglob("*.py") if "def command_line(" in p.read_text()]
QUOTING = [*PAGES, *SCRIPTS, *BENCH.glob("results/*.json")]
COMMAND = re.compile(r"python (-m )?(bench[.\w/]*)([^`\n]*)")


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def commands(pages: list[Path]) -> list[tuple[str, str, str]]:
    """Return page, script and what follows it, a comment left out, of every command."""
    found = []
    for page in pages:
        for way, script, rest in COMMAND.findall(page.read_text()):
            name = str(page.relative_to(ROOT))
            found.append((name, way + script, rest.partition("#")[0].strip().rstrip('",')))
    return found


ALL, TYPED = commands(QUOTING), commands(PAGES)
MODULES = sorted({module_of(path) for path in SCRIPTS})


def test_quoted_commands_name_scripts_that_have_a_command_line():
    known = {f"-m {name}" for name in MODULES}
    assert [one for one in ALL if one[1].rstrip(".") not in known] == []
    assert {script for _, script, _ in TYPED} == known  # and each is told of


def test_quoted_files_of_the_bench_exist():
    pages = [*PAGES, *ROOT.glob("src/**/*.py"), *ROOT.glob("csrc/**/*.[ch]pp")]
    quoted = {
        path
        for page in pages
        for path in re.findall(r"\bbench/[a-z_/]+\.(?:py|json|md)", page.read_text())
    }
    assert len(quoted) > 5
    assert [path for path in sorted(quoted) if not (ROOT / path).is_file()] == []


def test_the_tables_that_make_runs_are_scripts():
    line = re.search(r"^TABLES := (.*)$", (ROOT / "Makefile").read_text(), re.M)
    assert line and {f"bench.{table}" for table in line[1].split()} <= set(MODULES)


def test_results_are_those_of_scripts():
    found = {page for page, _, _ in ALL if page.endswith(".json")}
    assert len(found) == len(list(BENCH.glob("results/*.json")))


@pytest.fixture(params=MODULES)
def script(request):
    """Name a script, imported; skip where an extra that it imports is not installed."""
    pytest.importorskip(request.param, exc_type=ModuleNotFoundError)
    return importlib.import_module(request.param)


def test_quoted_options_exist(script):
    known = set(re.findall(r"--[\w-]+", script.command_line().format_help()))
    told = [(page, rest) for page, name, rest in ALL if name == f"-m {script.__name__}"]
    assert told
    for page, rest in told:
        assert set(re.findall(r"--[\w-]+", rest)) <= known, f"{page}: {rest}"


def test_quoted_commands_are_understood(script):
    for _, name, rest in TYPED:
        if name == f"-m {script.__name__}":
            script.command_line().parse_args(shlex.split(rest))
