"""What mkdocs calls while it builds the documentation (mkdocs.yml names this file).

Adds the generated reference and the Markdown pages that lie outside docs/. A link that leads out of
docs/ becomes a link to that page, or to the repository that pyproject.toml names. A link to a file
that is not there is a warning, which ends a strict build.
"""

from __future__ import annotations

import logging
import os
import re
import tomllib
from pathlib import Path
from typing import Final

from docs_reference import command_page, room_page, rooms
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).resolve().parents[1]
OUTSIDE: Final = {
    "README.md": "project/readme.md",
    "README.zh.md": "project/readme_zh.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "bench/README.md": "project/bench.md",
}

_LINK: Final = re.compile(r"(!?\[[^\]]*\])\(([^)\s]+)\)")
_SITE: Final = re.compile(r"[a-z]+:|#")
_LOG: Final = logging.getLogger("mkdocs.plugins.docs_hooks")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the rooms into the reference's part of the nav; take the repository's address.

    The address is none of mkdocs' own settings: the theme would ask the host for its stars.
    """
    config.extra["repository"] = _repository()
    for part in config.nav or []:
        if isinstance(part, dict) and "Reference" in part:
            part["Reference"] += [
                {room: f"reference/{room}.md"} for room in rooms() if room != "taut"
            ]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made, and those that lie outside docs/."""
    pages = {f"reference/{room}.md": room_page(room, names) for room, names in rooms().items()}
    pages["reference/cli.md"] = command_page()
    for path, page in OUTSIDE.items():
        pages[page] = (ROOT / path).read_text(encoding="utf-8")
    for page, text in pages.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links as they are in the repository into links of the site."""
    here = page.file.src_uri
    origin = {site: path for path, site in OUTSIDE.items()}.get(here, f"docs/{here}")
    if here.startswith("reference/"):
        return markdown
    repository = config.extra["repository"]
    return _LINK.sub(lambda link: _rewritten(link, origin, here, repository), markdown)


def _rewritten(link: re.Match[str], origin: str, here: str, repository: str) -> str:
    text, (path, _, anchor) = link[1], link[2].partition("#")
    if _SITE.match(link[2]):
        return link[0]
    target = os.path.normpath(os.path.join(os.path.dirname(origin), path))
    if not (ROOT / target).exists():
        _LOG.warning("%s: no such file: %s", origin, link[2])
    site = OUTSIDE.get(target) or (target[5:] if target.startswith("docs/") else None)
    if site:
        near = os.path.relpath(site, os.path.dirname(here) or ".")
        return f"{text}({near}{'#' if anchor else ''}{anchor})"
    return f"{text}({repository}/blob/main/{target})"


def _repository() -> str:
    """Where the sources are, as pyproject.toml says."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["urls"]["Source"])
