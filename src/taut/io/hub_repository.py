"""A repository of the Hugging Face hub at one commit: its files, with sizes and checksums."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from taut.errors import ArgumentError
from taut.io.hub_choice import below
from taut.io.hub_url import HubUrl, is_within
from taut.io.hub_words import (
    again,
    cache_folder,
    endpoint,
    is_offline,
    need_hub,
    speaking,
    status_of,
)
from taut.io.names import nearest

_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_NAME: Final = re.compile(r"[\w-][\w.-]{0,127}")
_PIECE: Final = 1 << 20


@dataclass(frozen=True)
class HubFile:
    """A file of a repository: its path there, and bytes and checksums where the hub tells them.

    `sha256` is of the bytes; `blob` is git's own, a SHA-1 over a length and the bytes.
    """

    name: str
    nbytes: int | None = None
    sha256: str | None = None
    blob: str | None = None

    def wrong(self, path: Path) -> str | None:
        """What of a fetched file is not as the hub says; None if all that is known is."""
        nbytes = path.stat().st_size
        if self.nbytes is not None and nbytes != self.nbytes:
            return f"it has {nbytes} bytes of {self.nbytes}"
        wanted = self.sha256 or self.blob
        if wanted is None:
            return None
        if self.sha256 is not None:
            kind, digest = "SHA-256", hashlib.sha256()
        else:
            kind = "SHA-1 of git"
            digest = hashlib.sha1(f"blob {nbytes}\0".encode(), usedforsecurity=False)
        with path.open("rb") as file:
            while data := file.read(_PIECE):
                digest.update(data)
        found = digest.hexdigest()
        return None if found == wanted else f"its {kind} is {found[:12]}..., not {wanted[:12]}..."


@dataclass(frozen=True)
class Repository:
    """What a URL of the hub names, at one commit; `local` if the hub was not asked."""

    url: HubUrl
    commit: str
    files: Mapping[str, HubFile]
    local: bool = False

    @property
    def told(self) -> str:
        """The URL, for messages."""
        return str(self.url)

    @property
    def snapshot(self) -> Path:
        """The folder of the hub's cache where the files of this commit lie, fetched or not."""
        return Path(_storage(self.url), "snapshots", self.commit)

    @property
    def names(self) -> list[str]:
        """The files that the URL names.

        Raises:
            ArgumentError: there are none.
        """
        found = below(self.files, self.url.path)
        if not found:
            near = nearest(self.url.path, self.files)
            raise ArgumentError(
                f'{self.told}: no file or folder "{self.url.path}" in the repository{near}'
            )
        return found

    @property
    def is_file(self) -> bool:
        """Whether the URL names a file, and no folder."""
        return self.url.path in self.files


def open_repository(url: HubUrl) -> Repository:
    """Ask the hub what a repository holds now; where it is not to be asked, look into its cache.

    Raises:
        ArgumentError: there is no such repository or revision, a token is missing or may not, or
            the hub cannot be reached and nothing of it was fetched before.
    """
    if is_offline():
        return _cached(url)
    try:
        with speaking(url):
            return _asked(url)
    except ArgumentError as error:
        no_answer = error.__cause__ is not None and status_of(error.__cause__) is None
        if no_answer and _is_cached(url):
            return _cached(url)
        raise


def _asked(url: HubUrl) -> Repository:
    """What the hub says now; the commit is noted in the cache, where it is looked for later."""
    api = need_hub(url).HfApi(endpoint=endpoint())
    found = again(
        lambda: api.repo_info(
            url.repo, repo_type=url.kind, revision=url.revision, files_metadata=True
        )
    )
    files = {one.rfilename: _file(one) for one in found.siblings or ()}
    commit = str(found.sha)
    odd = [name for name in files if not is_within(name)]
    if odd or not _NAME.fullmatch(commit):
        what = f"a file {odd[0]!r:.80}" if odd else f"{commit!r:.80} for a commit"
        raise ArgumentError(f"{url}: {endpoint()} lists {what}: it is no hub, or a hostile one")
    revision = url.revision or "main"
    if commit != revision:
        ref = _storage(url) / "refs" / revision
        with contextlib.suppress(OSError):  # a cache that may only be read
            ref.parent.mkdir(parents=True, exist_ok=True)
            ref.write_text(commit, encoding="utf-8")
    return Repository(url, commit, files)


def _file(found: Any) -> HubFile:
    lfs = found.lfs or {}
    sha = lfs.get("sha256") if isinstance(lfs, dict) else getattr(lfs, "sha256", None)
    blob = None if sha else found.blob_id
    return HubFile(found.rfilename, found.size, sha, blob)


def _storage(url: HubUrl) -> Path:
    """Where the hub's library keeps a repository."""
    return Path(cache_folder(), "--".join((f"{url.kind}s", *url.repo.split("/"))))


def commit_before(url: HubUrl) -> str | None:
    """The commit that a revision was when it was fetched; None if nothing of it was."""
    revision = url.revision or "main"
    if _COMMIT.fullmatch(revision):
        return revision
    ref = _storage(url) / "refs" / revision
    return ref.read_text(encoding="utf-8").strip() if ref.is_file() else None


def _is_cached(url: HubUrl) -> bool:
    commit = commit_before(url)
    return commit is not None and (_storage(url) / "snapshots" / commit).is_dir()


def _cached(url: HubUrl) -> Repository:
    """What was fetched before of a repository."""
    commit = commit_before(url)
    if commit is None or not _is_cached(url):
        raise ArgumentError(
            f"{url}: is not on this machine, and HF_HUB_OFFLINE forbids to fetch it; unset it"
        )
    folder = _storage(url) / "snapshots" / commit
    names = sorted(one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_file())
    return Repository(url, commit, {name: _by_blob(folder, name) for name in names}, local=True)


def _by_blob(folder: Path, name: str) -> HubFile:
    """A file of the cache, whose blob is called by its checksum, where links lead to blobs."""
    place = folder / name
    blob = Path(os.readlink(place)).name if place.is_symlink() else ""
    if re.fullmatch(r"[0-9a-f]{64}", blob):
        return HubFile(name, sha256=blob)
    return HubFile(name, blob=blob if _COMMIT.fullmatch(blob) else None)
