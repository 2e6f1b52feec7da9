"""What an `hf://` names: a repository of the Hugging Face hub, a revision, and a file in it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import unquote

from taut.errors import ArgumentError

Kind = Literal["model", "dataset", "space"]

_SCHEME: Final = "hf://"
_KINDS: Final[dict[str, Kind]] = {"models": "model", "datasets": "dataset", "spaces": "space"}
_ELSEWHERE: Final = ("buckets", "kernels")  # of the hub, and no repositories of models or data
_PART: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,95})")
_STRANGE: Final = "\\:\0" if os.name == "nt" else "\0"  # of drives, and of other separators
_REFS: Final = re.compile(r"(refs/(?:pr|convert)/[^/]+)(?:/(.*))?", re.DOTALL)
_GRAMMAR: Final = "hf://ORG/NAME[@REVISION][/FILE], or hf://datasets/ORG/NAME..."


@dataclass(frozen=True)
class HubUrl:
    """A repository, and what of it: `revision` None is its default branch, `path` "" all of it."""

    kind: Kind
    repo: str
    revision: str | None
    path: str

    def __str__(self) -> str:
        """The URL again."""
        kind = "" if self.kind == "model" else f"{self.kind}s/"
        revision = f"@{self.revision}" if self.revision is not None else ""
        path = f"/{self.path}" if self.path else ""
        return f"{_SCHEME}{kind}{self.repo}{revision}{path}"


def hub_of(url: str) -> HubUrl | None:
    """What an `hf://` names; None of other URLs, and of what the hub has besides repositories.

    Raises:
        ArgumentError: it names no repository.

    >>> hub_of("hf://org/name@v2/unet/model.safetensors")
    HubUrl(kind='model', repo='org/name', revision='v2', path='unet/model.safetensors')
    >>> hub_of("hf://datasets/org/chats@refs/convert/parquet/train.parquet").revision
    'refs/convert/parquet'
    >>> hub_of("s3://bucket/model") is None
    True
    """
    if not url.startswith(_SCHEME):
        return None
    rest = url.removeprefix(_SCHEME).strip("/")
    first, _, after = rest.partition("/")
    if first in _ELSEWHERE:
        return None
    kind: Kind = "model"
    if first in _KINDS:
        kind, rest = _KINDS[first], after
    repo, revision, path = _parts(rest)
    names = repo.split("/")
    if not all(_PART.fullmatch(name) for name in names):
        raise ArgumentError(f"{url}: names no repository of the hub; give {_GRAMMAR}")
    if revision is not None and not is_within(revision):
        raise ArgumentError(f"{url}: {revision!r} is no revision; give {_GRAMMAR}")
    if path and not is_within(path):
        raise ArgumentError(f"{url}: {path!r} is no path in a repository; give {_GRAMMAR}")
    return HubUrl(kind, repo, revision, path)


def is_within(path: str) -> bool:
    """Whether a path with / leads to a place below where it starts, on this system.

    >>> is_within("unet/model.safetensors"), is_within("../x"), is_within("/x")
    (True, False, False)
    """
    strange = any(sign in path for sign in _STRANGE)
    return not strange and not any(part in ("", ".", "..") for part in path.split("/"))


def _parts(rest: str) -> tuple[str, str | None, str]:
    """Repository, revision and path; one with no organisation has its revision, or no path."""
    parts = rest.split("/")
    count = 1 if "@" in parts[0] else 2
    repo, at, revision = "/".join(parts[:count]).partition("@")
    path = "/".join(parts[count:])
    if not at:
        return repo, None, path
    if found := _REFS.fullmatch("/".join((revision, path)) if path else revision):
        return repo, found[1], found[2] or ""
    return repo, unquote(revision), path
