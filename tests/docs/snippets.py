"""The snippets of a Markdown page: what a reader would copy and run.

A block is a snippet if it is Python (`python`), a plan (`yaml`), or begins with a command. Two
comments in a page speak to this module:

    <!-- given: model.safetensors, build.py -->      files that the page begins with (inputs.py)
    <!-- not run: why -->                            the next block is left out, for this reason

A Python or YAML block whose first line is `# NAME` is the file NAME. A command that holds `...`
shows only a part and is no snippet. A block of `text` behind a Python block is what that prints.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
COMMANDS: Final = ("taut", "python", "make", "pip", "$")
SHELL: Final = ("sh", "bash", "shell", "console")
# The Chinese pages that show code, and the English pages whose code it is.
TRANSLATED: Final = {"README.zh.md": "README.md"} | {
    f"docs/zh/{path.name}": f"docs/guide/{path.name}" for path in ROOT.glob("docs/guide/*.md")
}

_FENCE: Final = re.compile(r"\s*```\s*(\w*)")
_COMMENT: Final = re.compile(r"<!--\s*(given|not run)\s*:?\s*(.*?)\s*-->")
_FILE: Final = re.compile(r"# ([\w./-]+\.\w+)\n")


@dataclass(frozen=True)
class Snippet:
    """A block of the page from `line` on; `kind` is shell, python or yaml.

    `left_out` is the reason for which it is not run; `prints` is what the page says it prints.
    """

    page: str
    line: int
    kind: str
    text: str
    left_out: str | None = None
    prints: str | None = None

    @property
    def where(self) -> str:
        """As an editor opens it."""
        return f"{self.page}:{self.line}"

    @property
    def file(self) -> str | None:
        """The file that the block is."""
        named = _FILE.match(self.text) if self.kind in ("python", "yaml") else None
        return named[1] if named else None

    @property
    def commands(self) -> list[str]:
        """Those of a shell block, one a line."""
        lines = self.text.replace("\\\n", " ").splitlines()
        if lines[0].startswith("$ "):  # a transcript: all other lines are output
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        return [line for line in lines if line.strip() and "..." not in line]


@dataclass(frozen=True)
class Page:
    """A page, the files that it begins with, and its snippets in order."""

    name: str
    given: tuple[str, ...]
    snippets: tuple[Snippet, ...]


def read_page(name: str) -> Page:
    """Read a page by its path in the repository."""
    given: tuple[str, ...] = ()
    snippets: list[Snippet] = []
    reason = None
    for line, kind, text in _parts((ROOT / name).read_text(encoding="utf-8")):
        if kind == "given":
            given = tuple(file.strip() for file in text.split(","))
        elif kind == "not run":
            reason = text
        elif kind == "prints":
            if snippets and snippets[-1].kind == "python" and not snippets[-1].file:
                snippets[-1] = replace(snippets[-1], prints=text)
        else:
            snippets.append(Snippet(name, line, kind, text, reason))
            reason = None
    assert reason is None, f"{name}: a comment says `not run`, and no snippet follows"
    return Page(name, given, tuple(snippets))


def _parts(text: str) -> Iterator[tuple[int, str, str]]:
    """Line, kind and text of the comments and of the blocks that are snippets."""
    for line, language, body in _blocks(text.splitlines()):
        if language == "comment":
            for kind, rest in _COMMENT.findall(body):
                yield line, kind, rest
        elif kind := _kind(language, body):
            yield line, kind, body


def _kind(language: str, body: str) -> str | None:
    first = body.split(maxsplit=1)[0] if body.strip() else ""
    if language in ("python", "yaml"):
        return language
    if language == "text":
        return "prints"
    if language in SHELL or (not language and first in COMMANDS):
        return "shell"
    return "python" if not language and first in ("import", "from") else None


def _blocks(lines: list[str]) -> Iterator[tuple[int, str, str]]:
    """Line, language and text of fenced blocks, of indented ones, and of comments."""
    at = 0
    while at < len(lines):
        begin = at
        if fence := _FENCE.match(lines[at]):
            at += 1
            while not lines[at].lstrip().startswith("```"):
                at += 1
            yield begin + 2, fence[1], textwrap.dedent("\n".join(lines[begin + 1 : at]) + "\n")
        elif lines[at].startswith("    ") and (at == 0 or not lines[at - 1].strip()):
            while at + 1 < len(lines) and (lines[at + 1].startswith("    ") or not lines[at + 1]):
                at += 1
            yield begin + 1, "", textwrap.dedent("\n".join(lines[begin : at + 1]) + "\n")
        elif "<!--" in lines[at]:
            yield begin + 1, "comment", lines[at]
        at += 1
