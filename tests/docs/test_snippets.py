"""What counts as a snippet, and that a page which shows a command that fails is found."""

import pytest

from . import snippets
from .snippets import read_page

PAGE = """# A page
<!-- given: model.safetensors -->

    taut info x \\
      --json

and a formula

    x = 1  is no command

<!-- not run: it takes a GPU -->

```python
1 / 0
```

```python
# build.py
a = 1
```

- in a list:

  ```sh
  taut verify ...
  taut verify x  # all
  ```

    $ taut info y
    what it prints

and
    text that goes on

    from build import a
"""


@pytest.fixture
def page(tmp_path, monkeypatch):
    """Reads a text as a page."""
    monkeypatch.setattr(snippets, "ROOT", tmp_path)

    def write(text: str):
        (tmp_path / "page.md").write_text(text)
        return read_page("page.md")

    return write


def test_blocks_are_told_apart(page):
    found = page(PAGE)
    assert found.given == ("model.safetensors",)
    assert [(one.line, one.kind, one.file, one.left_out) for one in found.snippets] == [
        (4, "shell", None, None),
        (14, "python", None, "it takes a GPU"),
        (18, "python", "build.py", None),
        (25, "shell", None, None),
        (29, "shell", None, None),
        (35, "python", None, None),
    ]
    commands = [[" ".join(c.split()) for c in found.snippets[n].commands] for n in (0, 3, 4)]
    assert commands == [["taut info x --json"], ["taut verify x # all"], ["taut info y"]]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "    taut info none.safetensors\n",
            "page.md:1: `taut info none.safetensors` exits with 2",
        ),
        ("a\n\n```python\nx = 1\nx.y\n```\n", "page.md:4: AttributeError"),
        ("```python\nprint(9, 'a')\n```\n\n```text\n5 a\n```\n", "page.md:2: prints another"),
        ("    make demo\n", "page.md:1: `make demo` is no command that this test runs"),
    ],
)
def test_what_fails_is_named_with_its_line(page, tmp_path, text, told):
    from .follow import follow

    with pytest.raises(AssertionError) as failed:
        follow(page(text), tmp_path)
    assert str(failed.value).startswith(told)


def test_a_reason_without_a_snippet_is_an_error(page):
    with pytest.raises(AssertionError, match="no snippet follows"):
        page("<!-- not run: it takes a GPU -->\n\ntext\n")


@pytest.mark.parametrize(
    ("printed", "same"),
    [("a 80.1 %\n", True), ("a  101", False), ("b 99 %", False), ("a 40 %", False)],
)
def test_what_is_printed_may_differ_by_a_half(printed, same):
    from .follow import alike

    assert alike(printed, "a 99.0 %") is same
