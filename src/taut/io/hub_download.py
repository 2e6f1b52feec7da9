"""Fetches files of the Hugging Face hub into its own cache: what broke off goes on, all is checked.

Surprise first: the hub's library begins a file anew when a run was stopped. So a file's bytes are
gathered beside its place in the cache, under a name of Taut's, and the library is left to link it.
What the hub serves in no other way than by Xet (files of more than 50 GB), the library fetches.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from taut.errors import ArgumentError, VerifyError
from taut.io.hub_repository import HubFile, Repository
from taut.io.hub_words import (
    TRIES,
    again,
    cache_folder,
    endpoint,
    hub_constants,
    hub_tools,
    need_hub,
    passes,
    speaking,
    status_of,
    wait,
)

_PART: Final = ".taut-part"
_TAG: Final = re.compile(r"[\w-][\w.-]{0,127}")  # what becomes a file's name
_LARGEST: Final = 50_000_000_000  # bytes of a file that the hub serves by plain HTTP
_SHA256, _SHA1 = 64, 40  # digits


def fetched(repository: Repository, name: str) -> Path:
    """A file of a repository on this machine, held against its checksum.

    Raises:
        ArgumentError: it cannot be fetched; what came is kept, and the next call goes on from it.
        VerifyError: what the hub gives has another checksum than the hub says.
    """
    file = repository.files[name]
    place = repository.snapshot / name
    if place.is_file():
        wrong = file.wrong(place)
        if wrong is None:
            return place
        if repository.local:
            raise VerifyError(f"{repository.told}: {name} in the hub's cache is damaged: {wrong}")
        _forget(place)
    with speaking(replace(repository.url, path=name), repository.told):
        _fetch(repository, file)
    if not place.is_file():
        raise ArgumentError(
            f"{repository.told}: {name} came of another commit than was listed; try again when "
            "nobody writes to the repository"
        )
    wrong = file.wrong(place)
    if wrong is not None:
        _forget(place)
        raise _damaged(repository, name, wrong)
    return place


def _fetch(repository: Repository, file: HubFile) -> None:
    """Have a file in the cache, by whichever way goes on where it was."""
    about = again(lambda: _about(repository, file.name))
    hub = need_hub(repository.told)
    plain = about.size is None or about.size <= _LARGEST
    if about.etag and about.commit_hash and plain and _TAG.fullmatch(about.etag):
        _gather(repository, file, about)
    again(
        lambda: hub.hf_hub_download(
            repository.url.repo,
            file.name,
            repo_type=repository.url.kind,
            revision=repository.commit,
            cache_dir=cache_folder(),
            endpoint=endpoint(),
        )
    )


def file_address(repository: Repository, name: str) -> str:
    """Where a file of a repository is served."""
    found: str = need_hub(repository.told).hf_hub_url(
        repository.url.repo,
        name,
        repo_type=repository.url.kind,
        revision=repository.commit,
        endpoint=endpoint(),
    )
    return found


def _about(repository: Repository, name: str) -> Any:
    hub = need_hub(repository.told)
    return hub.get_hf_file_metadata(file_address(repository, name))


def _gather(repository: Repository, file: HubFile, about: Any) -> None:
    """Fetch a file's bytes, from where an earlier call ended, and put them where the cache looks.

    Raises:
        VerifyError: they have another checksum, also when they are fetched anew.
    """
    storage = repository.snapshot.parents[1]
    blob = storage / "blobs" / about.etag
    lock = Path(cache_folder(), ".locks", storage.name, f"{about.etag}.lock")
    for folder in (blob.parent, lock.parent):
        folder.mkdir(parents=True, exist_ok=True)
    known = _known(file, about)
    with hub_tools(repository.told).WeakFileLock(lock):
        if blob.exists():
            return
        part = blob.with_name(blob.name + _PART)
        for left in (1, 0):
            _download(repository, file.name, about, part)
            wrong = known.wrong(part)
            if wrong is None:
                os.replace(part, blob)
                return
            part.unlink()
            if not left:
                raise _damaged(repository, file.name, wrong)


def _known(file: HubFile, about: Any) -> HubFile:
    """What is known of a file by the list of files, or else by its own tag."""
    etag = about.etag
    sha = etag if len(etag) == _SHA256 else None
    blob = etag if len(etag) == _SHA1 else None
    if file.sha256 or file.blob:
        sha, blob = file.sha256, file.blob
    return HubFile(file.name, about.size if file.nbytes is None else file.nbytes, sha, blob)


def _download(repository: Repository, name: str, about: Any, part: Path) -> None:
    """Add to a part what it lacks; a connection that breaks is made again while bytes come."""
    number = 0
    while True:
        have = part.stat().st_size if part.exists() else 0
        try:
            _add(repository, name, about, part)
            return
        except Exception as error:
            grown = part.exists() and part.stat().st_size > have
            number = 0 if grown else number + 1
            if number == TRIES or not (passes(error) or _is_late(error, about)):
                raise
            wait(number, error)
            about = again(lambda: _about(repository, name))


def _is_late(error: Exception, about: Any) -> bool:
    """Whether an address elsewhere, which is good for an hour or so, was asked too late."""
    elsewhere = urlsplit(about.location).netloc != urlsplit(endpoint()).netloc
    return elsewhere and status_of(error) in (401, 403)


def _add(repository: Repository, name: str, about: Any, part: Path) -> None:
    """Ask for what a part lacks, and write it as it comes.

    Raises:
        ConnectionError: less came than there is.
    """
    have, size = _held(part), about.size
    if have is not None and have == size:
        return
    have = 0 if have is None or (size is not None and have > size) else have
    tools = hub_tools(repository.told)
    headers, address = _headers(repository, name, about, have), about.location
    timeout = hub_constants(repository.told).HF_HUB_DOWNLOAD_TIMEOUT
    with tools.get_session().stream("GET", address, headers=headers, timeout=timeout) as response:
        if response.status_code >= 400:
            response.read()
            tools.hf_raise_for_status(response)
        if response.status_code != 206:  # ranges are not served there: it begins anew
            have = 0
        bar = tools.tqdm(desc=name, total=size, initial=have, unit="B", unit_scale=True)
        with bar:
            _write(part, have, response.iter_bytes(), bar.update)
    _check_whole(part, size)


def _held(part: Path) -> int | None:
    """Bytes of a part; None if there is none."""
    return part.stat().st_size if part.exists() else None


def _check_whole(part: Path, size: int | None) -> None:
    if size is not None and part.stat().st_size < size:
        raise ConnectionError(f"{part.stat().st_size} bytes of {size} came")


def _write(part: Path, have: int, pieces: Iterable[bytes], told: Callable[[int], object]) -> None:
    """Write pieces behind the first `have` bytes of a file, as they come."""
    with part.open("r+b" if have else "wb") as out:
        out.truncate(have)
        out.seek(have)
        for data in pieces:
            out.write(data)
            told(len(data))


def _headers(repository: Repository, name: str, about: Any, have: int) -> dict[str, str]:
    """What is sent along: the range, and the token where the hub itself serves the file."""
    headers = {**hub_tools(repository.told).build_hf_headers(), "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    if urlsplit(about.location).netloc != urlsplit(file_address(repository, name)).netloc:
        headers.pop("authorization", None)
    return headers


def _forget(place: Path) -> None:
    """Take a damaged file out of the cache, so that it is fetched anew."""
    blob = place.parent / os.readlink(place) if place.is_symlink() else None
    place.unlink()
    if blob is not None:
        blob.unlink(missing_ok=True)


def _damaged(repository: Repository, name: str, wrong: str) -> VerifyError:
    return VerifyError(
        f"{repository.told}: {name} came damaged: {wrong}; nothing of it is kept: try again, or "
        "tell who keeps the repository"
    )
