"""Links between the repository's pages hold, on a code host as in the generated documentation."""

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from .snippets import ROOT

PAGES = [
    ROOT / name
    for name in ("README.md", "README.zh.md", "CONTRIBUTING.md", "CHANGELOG.md", "bench/README.md")
]
PAGES += sorted(ROOT.glob("docs/**/*.md"))
BLOCK = re.compile(r"^ *```.*?^ *```|^(?:    [^\n]*\n)+", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\]\(([^)\s]+)\)")


def text_of(path: Path) -> str:
    """A page without its blocks of code, which may look like links and headings."""
    return BLOCK.sub("", _read(path))


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def anchors(path: Path) -> set[str]:
    """What headings are called in links: lower case, hyphens for spaces, and no other signs."""
    headings = re.findall(r"^#+ +(.*?) *$", text_of(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(page: Path) -> Iterator[str]:
    for link in LINK.findall(CODE.sub("", text_of(page))):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if re.match(r"https?:", link):
            continue
        if not target.exists() or not target.is_relative_to(ROOT):
            yield f"{page.relative_to(ROOT)}: no such file: {link}"
        elif anchor and anchor not in anchors(target):
            yield f"{page.relative_to(ROOT)}: no such heading: {link}"


def test_links_lead_somewhere():
    assert [found for page in PAGES for found in broken(page)] == []


def test_a_broken_link_is_found(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text("# A `b`, c\n[1](#a-b-c) [2](#a-c) [3](page.md#a-b-c) [4](none.md) [5](../x)\n")
    (tmp_path.parent / "x").touch()
    assert [found.split(": ", 1)[1] for found in broken(page)] == [
        "no such heading: #a-c",
        "no such file: none.md",
        "no such file: ../x",
    ]


def _named(nav: object) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    for part in nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ():
        yield from _named(part)


def test_every_page_is_in_the_menu_and_in_the_index():
    docs = ROOT / "docs"
    pages = {path.relative_to(docs).as_posix() for path in docs.glob("**/*.md")}
    menu = set(_named(yaml.safe_load(_read(ROOT / "mkdocs.yml"))["nav"]))
    assert {page for page in menu if not page.startswith(("reference/", "project/"))} == pages
    for index in docs.glob("**/README.md"):
        beside = {path.name for path in index.parent.glob("*.md")}
        linked = {link.partition("#")[0] for link in LINK.findall(_read(index))}
        assert beside - linked == {"README.md"}, index


def test_lists_and_tables_begin_after_an_empty_line():
    """A code host needs none; the documentation's Markdown would take them for text."""
    begins = re.compile(r"^(?![-|] |\|-|\d+\. | )[^\n]+\n(?:- |\d+\. |\| )[^\n]*", re.MULTILINE)
    for page in PAGES:
        assert begins.findall(text_of(page)) == [], page
