"""Every page runs top to bottom in one folder, so that none shows a command that fails.

Chinese pages show the code of the English ones to the last token, as test_chinese.py asserts: it
runs once. The guide's last page, which leaves a web page, is test_phone.py's.
"""

import re
from pathlib import Path

import pytest

from .promises import PROMISES
from .snippets import ROOT, TRANSLATED, Page, read_page

NAMES = ["README.md", "CONTRIBUTING.md", "README.zh.md"]
NAMES += sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/**/*.md"))
ELSEWHERE = {*TRANSLATED, "docs/guide/phone.md"}
PAGES = [page for page in map(read_page, NAMES) if page.snippets]
SLOW = {
    "README.md": "shows a command of every kind, and each loads its own half of PyTorch",
    "docs/own_model.md": "calibrates, sweeps, trains and exports",
    "docs/training.md": "trains",
    "docs/calibration.md": "calibrates, and begins again where it was stopped",
    "docs/analyze.md": "rounds every tensor alone",
    "docs/export.md": "exports to every format",
    "docs/frontier.md": "sweeps a frontier",
    "docs/guide/with_data.md": "trains",
    "docs/guide/sparsity.md": "trains",
    "docs/guide/distillation.md": "trains",
    "docs/guide/judging.md": "resamples a thousand times",
    "docs/guide/practice.md": "compresses in every way",
}


def _marks(name: str) -> list[pytest.MarkDecorator]:
    return [pytest.mark.slow(SLOW[name])] if name in SLOW else []


CASES = [
    pytest.param(page, marks=_marks(page.name), id=page.name)
    for page in PAGES
    if page.name not in ELSEWHERE
]


@pytest.fixture
def one_thread():
    """PyTorch in one thread: the networks are so small that more would wait for one another."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("page", CASES)
def test_a_page_does_what_it_shows(page: Page, tmp_path: Path, one_thread):
    from .follow import follow

    names = follow(page, tmp_path)
    PROMISES.get(page.name, lambda folder, names: None)(tmp_path, names)


def test_every_page_that_shows_code_runs_or_shows_that_of_one_that_does():
    run = {case.id for case in CASES}
    shown = {page.name for page in PAGES}
    assert shown - run <= ELSEWHERE
    assert {TRANSLATED[name] for name in shown & set(TRANSLATED)} <= run | {"docs/guide/phone.md"}


def test_what_is_not_run_says_why():
    left_out = [one for page in PAGES for one in page.snippets if one.left_out is not None]
    assert [one.where for one in left_out if len(one.left_out.split()) < 3] == []
    assert len(left_out) == 24  # a snippet more that nobody runs is a decision


def test_the_guide_can_be_followed_in_one_folder():
    """Its readers do not begin anew for each page: no file is written by two."""
    shown = [one.text for page in PAGES if "docs/guide/" in page.name for one in page.snippets]
    made = re.findall(r"(?:-o |export \S+ |^# )([\w.]+)", "\n".join(shown), re.MULTILINE)
    made = [name for name in made if "." in name]
    assert len(made) > 8
    assert sorted(set(made)) == sorted(made)


def test_the_page_on_evaluation_names_every_option():
    from typer.main import get_command

    from taut.cli.app import app

    text = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    options = {
        name
        for parameter in get_command(app).commands["eval"].params
        for name in parameter.opts
        if name.startswith("--") and name not in ("--force", "--quiet", "--help")
    }
    assert not {name for name in options if f"`{name}" not in text}
