"""Follows a page as a reader would: top to bottom, in one folder, in this process."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from typer.testing import CliRunner

from taut.cli.app import app
from taut.planning import load_plan

from .inputs import make
from .snippets import Page, Snippet


def follow(page: Page, folder: Path) -> dict[str, object]:
    """Run what the page shows; gives the names that its Python leaves.

    Raises:
        AssertionError: a snippet failed; the message has its place in the page.
    """
    names: dict[str, object] = {"__name__": "page"}
    for file in page.given:
        make(file, folder)
    with _working_in(folder):
        for snippet in page.snippets:
            if snippet.left_out is None:
                _run(snippet, names)
    return names


def _run(snippet: Snippet, names: dict[str, object]) -> None:
    if snippet.kind == "yaml":
        _write(snippet.file or "page.yaml", snippet.text)
        load_plan(snippet.file or "page.yaml")
    elif snippet.file:
        _write(snippet.file, snippet.text)
    elif snippet.kind == "python":
        _execute(snippet, names)
    elif snippet.kind == "shell":
        for command in snippet.commands:
            _command(snippet.where, command)


def _write(name: str, text: str) -> None:
    Path(name).write_text(text, encoding="utf-8")


def _execute(snippet: Snippet, names: dict[str, object]) -> None:
    code = compile("\n" * (snippet.line - 1) + snippet.text, snippet.page, "exec")
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            exec(code, names)
    except Exception as error:
        raise AssertionError(f"{snippet.where}: {type(error).__name__}: {error}") from error
    if snippet.prints is not None and not alike(printed.getvalue(), snippet.prints):
        raise AssertionError(f"{snippet.where}: prints another thing:\n{printed.getvalue()}")


def alike(printed: str, told: str) -> bool:
    """Whether two outputs have the same words, and numbers that differ by a half at most.

    A network that is trained on another processor is another one; what a page says of it holds.
    """
    (words, numbers), (told_words, told_numbers) = _apart(printed), _apart(told)
    return words == told_words and all(
        abs(one - other) <= max(0.5 * abs(other), 0.02)
        for one, other in zip(numbers, told_numbers, strict=True)
    )


def _apart(text: str) -> tuple[list[str], list[float]]:
    """What is no number, and the numbers."""
    number = r"-?\d+(?:,\d{3})*(?:\.\d+)?"
    found = [float(one.replace(",", "")) for one in re.findall(number, text)]
    return re.sub(number, " # ", text).split(), found


def _command(where: str, command: str) -> None:
    words = shlex.split(command, comments=True)
    if words[:1] != ["taut"]:
        raise AssertionError(
            f"{where}: `{command}` is no command that this test runs; say why in a comment before "
            "the block: <!-- not run: why -->"
        )
    arguments, output = words[1:], None
    if ">" in arguments:
        at = arguments.index(">")
        arguments, output = arguments[:at], arguments[at + 1]
    result = CliRunner().invoke(app, arguments)
    if result.exit_code != 0:
        raise AssertionError(
            f"{where}: `{command}` exits with {result.exit_code}\n{result.stderr}"
        ) from result.exception
    if output:
        _write(output, result.stdout)


@contextlib.contextmanager
def _working_in(folder: Path) -> Iterator[None]:
    """The working folder, from which Python imports too; what was imported there is forgotten."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        with contextlib.chdir(folder):
            yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if file and Path(file).is_relative_to(folder):
                del sys.modules[name]
