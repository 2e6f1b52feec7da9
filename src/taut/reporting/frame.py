"""What every page is in: its style, its one script, and a policy that lets nothing else run."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import Final

from taut.reporting.html_table import table_html
from taut.reporting.numbers import printable

__all__ = ["document", "facts_html", "table_html"]

_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{}'; "
    "base-uri 'none'; form-action 'none'"
)

_COPIED: Final = re.compile(r"(<code>.*?</code>|<[^>]*>)", re.DOTALL)
_PERCENT: Final = re.compile(r"(\d) %")


def document(title: str, body: str) -> str:
    """One HTML file of a body, which is markup; the title is text.

    The script sorts tables. The policy names it by its hash, so that no other can run, and nothing
    is asked of a network. No line begins with the sign of a percentage.
    """
    style, script = (_read(name) for name in ("page.css", "page.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY.format(digest)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<meta name="generator" content="Taut">
<link rel="icon" href="data:,">
<title>{escape(printable(title))}</title>
<style>
{style}</style>
</head>
<body>
{_percents_unbroken(body)}
<script>{script}</script>
</body>
</html>
"""


def _percents_unbroken(body: str) -> str:
    """Join numbers to their "%", but where a reader copies text: commands, names in attributes."""
    parts = _COPIED.split(body)  # every other one is copied
    parts[::2] = [_PERCENT.sub("\\1\N{NO-BREAK SPACE}%", part) for part in parts[::2]]
    return "".join(parts)


def facts_html(facts: Sequence[tuple[str, str]], kind: str = "made") -> str:
    """Names with a text each; commands, whose name is "Command", in letters of one width."""
    rows = "".join(
        f"<dt>{escape(printable(name))}</dt><dd>{_fact(name, text)}</dd>" for name, text in facts
    )
    return f'<dl class="{kind}">{rows}</dl>' if rows else ""


def _fact(name: str, text: str) -> str:
    told = escape(printable(text))
    if name != "Command":
        return told
    whole = re.sub(r"(?<!\S)--?[\w-]+", r"<b>\g<0></b>", told)  # a line ends at no hyphen of these
    return f"<code>{whole}</code>"


def _read(name: str) -> str:
    return (files("taut.reporting") / name).read_text(encoding="utf-8")
