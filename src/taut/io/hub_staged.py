"""What an `hf://` names as a local path: in the hub's cache, or as ranges of what is looked at."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from taut.errors import ArgumentError
from taut.io.hub_choice import of_use
from taut.io.hub_download import fetched, file_address
from taut.io.hub_repository import Repository, open_repository
from taut.io.hub_url import HubUrl
from taut.io.hub_words import again, hub_tools, speaking
from taut.io.shard_index import read_index
from taut.io.stores import Store, StoreFile

_TAUT: Final = (".taut.safetensors", ".taut.safetensors.index.json", ".taut.tree.json")
_INDEX: Final = ".index.json"


@dataclass(frozen=True)
class HubPath:
    """A path in the hub's cache, where all that is wanted lies; `notes` tell what was left."""

    path: Path
    notes: tuple[str, ...] = ()


class HubRanges:
    """A repository at one commit, as a store from which ranges of files are read."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def cat_file(self, path: str, start: int, end: int) -> bytes:
        """The bytes of a file from one to another."""
        url = replace(self._repository.url, path=path)
        with speaking(url, self._repository.told):
            return again(lambda: self._range(path, start, end))

    def _range(self, path: str, start: int, end: int) -> bytes:
        tools = hub_tools(self._repository.told)
        headers: dict[str, str] = {**tools.build_hf_headers(), "Accept-Encoding": "identity"}
        headers["Range"] = f"bytes={start}-{end - 1}"
        address = file_address(self._repository, path)
        response: Any = tools.get_session().get(address, headers=headers)
        tools.hf_raise_for_status(response)
        data: bytes = response.content
        if response.status_code != 206:  # all of it: no ranges are served there
            data = data[start:end]
        if len(data) != end - start:
            raise ConnectionError(f"{len(data)} bytes of {end - start} came")
        return data

    def get_file(self, path: str, local: str) -> None:
        """Have a whole file at a local path."""
        shutil.copyfile(fetched(self._repository, path), local)


@dataclass(frozen=True)
class HubStore(Store):
    """The Taut files that a URL of the hub names; what a commit holds does not change."""

    repository: Repository | None = None

    def files(self) -> dict[str, StoreFile]:
        """The files, by their names below what the URL names."""
        assert self.repository is not None
        folder = self.repository.url.path
        if self.is_file():
            folder = folder.rpartition("/")[0]
        start = len(folder) + 1 if folder else 0
        mark = (self.repository.commit,)
        return {
            name[start:]: StoreFile(name, self.repository.files[name].nbytes or 0, mark)
            for name in ranged(self.repository)
        }

    def is_file(self) -> bool:
        """Whether it is a file."""
        return self.repository is not None and self.repository.is_file

    def is_there(self) -> bool:
        """Whether there is anything."""
        return True


def hub_store(url: HubUrl) -> HubStore | None:
    """A store of a repository's Taut files; None where all of it is here, or sizes are not told.

    Raises:
        ArgumentError: there is no such repository, revision or file, or it cannot be reached.
    """
    repository = open_repository(url)
    names = ranged(repository)
    known = all(repository.files[name].nbytes is not None for name in names)
    here = all((repository.snapshot / name).is_file() for name in names)
    if repository.local or here or not known:
        return None
    return HubStore(str(url), "hf", HubRanges(repository), url.path or url.repo, repository)


def ranged(repository: Repository) -> list[str]:
    """The Taut files among what is named, with their indexes; everything where there are none."""
    names = repository.names
    return [name for name in names if name.endswith(_TAUT)] or names


def hub_path(url: HubUrl) -> HubPath:
    """Fetch what a URL of the hub names into the hub's cache, each file checked.

    Raises:
        ArgumentError: there is no such repository, revision or file, or it cannot be reached.
        VerifyError: a file came damaged.
    """
    repository = open_repository(url)
    names, left = repository.names, list[str]()
    if not repository.is_file and url.kind == "model":
        names, left = of_use(names, repository.told)
    for name in names:
        fetched(repository, name)
    if repository.is_file and url.path.endswith(_INDEX):
        _fetch_listed(repository)
    return HubPath(repository.snapshot / url.path, _notes(left))


def _fetch_listed(repository: Repository) -> None:
    """The shards that an index lists."""
    index = repository.url.path
    folder = index.rpartition("/")[0]
    for shard in sorted(set(read_index(repository.snapshot / index).values())):
        name = f"{folder}/{shard}" if folder else shard
        if name not in repository.files:
            raise ArgumentError(f'{repository.told}: shard "{shard}" is not in the repository')
        fetched(repository, name)


def _notes(left: Iterable[str]) -> tuple[str, ...]:
    names = list(left)
    if not names:
        return ()
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    told = ", ".join(names[:4]) + more
    return (f"left on the hub: {told} (weights in another form)",)
