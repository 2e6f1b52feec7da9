"""No test asserts the words of another library: they change with its version.

A test of a message asserts our part of it, the kind of the exception, or the fact behind it. What
is looked for here is how such words come in: a match on an exception that is not ours, a warning
named by its text, and some phrases of those whose messages ours pass on. It is no proof.
"""

from __future__ import annotations

import ast
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
OURS = {"TautError", "FormatError", "ArgumentError", "TargetError", "VerifyError"}
OURS |= {"AssertionError", "TautCError"}  # of what only tests use
PHRASES = {
    "the system": {os.strerror(code) for code in errno.errorcode} - {os.strerror(0)},
    "Python": {
        *("positional argument", "keyword argument", "No module named", "cannot import name"),
        *("codec can't decode", "recursion depth", "string conversion", "invalid syntax"),
    },
    "json": {"Expecting value", "Expecting property", "Unterminated string", "Invalid control"},
    "re": {"unterminated subpattern", "unterminated character", "nothing to repeat"},
    "zlib and zipfile": {"while decompressing", "header check", "not a zip file", "Bad CRC"},
    "argparse and click": {"Invalid value for", "Missing argument", "No such option"},
    "YAML": {"did not find expected", "could not find expected", "nesting depth", "while scanning"},
    "pydantic": {"Instance is frozen", "Field required", "Input should be", "validation error"},
    "numpy": {"is read-only", "allow_pickle=", "pickled data", "could not be broadcast"},
    "PyTorch": {"mat1 and mat2", "cannot be multiplied", "Weights only", "Missing key(s)"},
    "transformers": {"no file named", "does not appear to have", "custom code which"},
    "ONNX Runtime": {"ONNXRuntimeError", "Non-zero status code", "INVALID_GRAPH"},
}  # fmt: skip
PHRASE = re.compile("|".join(re.escape(one) for said in PHRASES.values() for one in said))
ESCAPED = re.compile(r"\\(.)")  # as a pattern has it


@pytest.fixture(scope="module")
def trees() -> dict[str, ast.Module]:
    """The tests' files, parsed, but for this one."""
    paths = sorted(path for path in TESTS.rglob("*.py") if path != Path(__file__))
    return {str(path.relative_to(TESTS)): ast.parse(path.read_bytes()) for path in paths}


def calls(trees: dict[str, ast.Module], of: str) -> Iterator[tuple[str, ast.Call]]:
    """Each call of a function, and where it stands."""
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == of:
                yield f"{path}:{node.lineno}", node


def texts(trees: dict[str, ast.Module]) -> Iterator[tuple[str, str]]:
    """Each text but the docstrings, and where it stands."""
    for path, tree in trees.items():
        told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and id(node) not in told:
                yield f"{path}:{node.lineno}", ESCAPED.sub(r"\1", str(node.value))


def test_a_match_is_on_an_error_of_ours(trees: dict[str, ast.Module]) -> None:
    found = []
    for place, call in calls(trees, "pytest.raises"):
        kinds = set(re.findall(r"\w+", ast.unparse(call.args[0]))) - {"taut", "errors"}
        if any(word.arg == "match" for word in call.keywords) and not kinds <= OURS:
            found.append(f"{place}: {ast.unparse(call)}")
    assert not found


def test_a_warning_is_named_by_its_category(trees: dict[str, ast.Module]) -> None:
    found = [
        f"{place}: {ast.unparse(call)}"
        for place, call in calls(trees, "pytest.mark.filterwarnings")
        if re.search("[a-z]:[^:]", ast.unparse(call.args[0]))
    ]
    assert not found


def test_no_phrase_of_another_library_is_asserted(trees: dict[str, ast.Module]) -> None:
    found = [(place, said[0]) for place, text in texts(trees) if (said := PHRASE.search(text))]
    assert not found
