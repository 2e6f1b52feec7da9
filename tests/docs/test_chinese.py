"""The Chinese pages show the code of the English ones: what runs there (test_pages.py) runs here.

Comments, docstrings and the words of web pages may be Chinese; all else is equal, also what is
printed, which code is left out, and the figures in tables.
"""

import ast
import re
import shlex

import pytest

from .snippets import ROOT, TRANSLATED, Snippet, read_page

PAGES = sorted(path.name for path in ROOT.glob("docs/zh/*.md"))
CHINESE = re.compile(r"[\u3000-\u30ff\u4e00-\u9fff\uff00-\uffef]")


def plain(text: str, kind: str) -> str:
    """What a snippet does: code without comments, docstrings and Chinese parts of texts."""
    if kind == "shell":
        return str([shlex.split(line, comments=True) for line in text.splitlines()])
    if kind != "python":
        return text
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(
            node
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.dump(tree)


def words_apart(text: str) -> str:
    """A page of HTML in a text without its words and its remarks: those are translated."""
    return re.sub(r"(?<=>)[^<>{}]+(?=</)|//[^\n\\]*", "", text)


def shown(snippet: Snippet) -> tuple[str, str | None, str]:
    return snippet.kind, snippet.file, words_apart(plain(snippet.text, snippet.kind))


def test_every_page_of_the_guide_is_there_in_both_languages():
    assert sorted(path.name for path in ROOT.glob("docs/guide/*.md")) == PAGES


@pytest.mark.parametrize(("chinese", "english"), sorted(TRANSLATED.items()))
def test_the_code_is_that_of_the_english_page(chinese, english):
    here, there = read_page(chinese), read_page(english)
    assert here.given == there.given
    assert [shown(one) for one in here.snippets] == [shown(one) for one in there.snippets]
    for one, other in zip(here.snippets, there.snippets, strict=True):
        assert one.prints == other.prints, one.where
        assert (one.left_out is None) == (other.left_out is None), one.where


@pytest.mark.parametrize("name", PAGES)
def test_its_text_is_chinese_and_as_long(name):
    here, there = (
        (ROOT / "docs" / folder / name).read_text(encoding="utf-8") for folder in ("zh", "guide")
    )
    assert len(CHINESE.findall(here)) > 400
    heads = [
        len(re.findall(r"^#+ ", re.sub(r"(?ms)^```.*?^```", "", text), re.M))
        for text in (here, there)
    ]
    assert heads[0] == heads[1]  # no section is left out
    links = [set(re.findall(r"\]\(([\w./]+)[#)]", text)) for text in (here, there)]
    assert {link for link in links[1] if link.endswith(".svg")} <= links[0]


def figures(text: str) -> list[list[str]]:
    """The numbers of each row of tables that holds a dozen digits or more, each row sorted."""
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    found = [sorted(re.findall(r"\d*\.?\d+", line)) for line in rows if "`taut" not in line]
    return [row for row in found if len("".join(row)) >= 12]


@pytest.mark.parametrize(
    ("english", "chinese", "least"),
    [("README.md", "README.zh.md", 4), ("docs/results.md", "docs/results.zh.md", 15)],
)
def test_the_figures_are_the_same(english: str, chinese: str, least: int):
    there, here = (
        figures((ROOT / name).read_text(encoding="utf-8")) for name in (english, chinese)
    )
    assert len(here) > least
    assert [row for row in here if row not in there] == []  # change both pages together


def test_a_difference_is_found():
    one, other = (
        "def f():\n    '''a'''\n    return 1  # b\n",
        "def f():\n    '''甲'''\n    return 1\n",
    )
    assert plain(one, "python") == plain(other, "python")
    assert plain(one, "python") != plain(other.replace("1", "2"), "python")
    assert words_apart("<p>Draw</p> f(1) // a\n") == words_apart("<p>写</p> f(1) // 甲\n")
