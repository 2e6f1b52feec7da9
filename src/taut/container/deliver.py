"""What is written to a store: made on this machine, and put there when it is whole.

An object store shows a file once all of it is there. In other stores it is written under another
name and moved. Of a folder the weights go last, and their index after them: who finds it finds all.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from taut.container.find import INDEX_SUFFIX, SUFFIX, TAUT_SUFFIXES, TREE_SUFFIX
from taut.errors import ArgumentError
from taut.io.hub_choice import below
from taut.io.hub_commit import commit_files, open_for_writing
from taut.io.hub_repository import Repository
from taut.io.hub_url import HubUrl, hub_of
from taut.io.staged import naming
from taut.io.stores import Store, local_of, open_store, reaching

_WHOLE_AT_ONCE: Final = ("s3", "s3a", "gs", "gcs", "hf", "az", "abfs", "abfss", "oss", "r2")


@contextlib.contextmanager
def delivered(url: str, *, force: bool) -> Iterator[Path]:
    """Give a local path to write to; what is there at a good end is put where `url` points.

    Raises:
        ArgumentError: something is there (and not `force`), it cannot be reached, or an extra is
            missing; all of that before the body runs.
    """
    if (local := local_of(url)) is not None:
        yield local
        return
    if (hub := hub_of(url)) is not None:
        with _to_hub(hub, force) as local:
            yield local
        return
    store = open_store(url)
    if store.is_there() and not force:
        raise ArgumentError(f"{url}: exists; give -f (force=True) to replace it")
    with tempfile.TemporaryDirectory(prefix="taut-") as folder:
        name = store.path.rstrip("/").rsplit("/", 1)[-1]
        made = Path(os.path.realpath(folder)) / name
        with naming(made, url):
            yield made
            _put_all(store, made)


@contextlib.contextmanager
def _to_hub(url: HubUrl, force: bool) -> Iterator[Path]:
    """Give a local path, whose files become one commit of a repository that is there."""
    repository = open_for_writing(url, create=False, private=False)
    assert repository is not None
    there = _there(repository, force)
    with tempfile.TemporaryDirectory(prefix="taut-") as folder:
        name = (url.path or url.repo).rsplit("/", 1)[-1]
        made = Path(os.path.realpath(folder)) / name
        with naming(made, str(url)):
            yield made
            files = _files_of(made, url.path)
            without = [name for name in _own(there) if name not in files]
            if files:
                commit_files(url, files, message="Add what Taut wrote", without=without)


def _there(repository: Repository, force: bool) -> list[str]:
    """The files that are to be replaced; raises ArgumentError if they are not to be."""
    url, files = repository.url, repository.files
    there = below(files, url.path) if url.path else _own(files)
    if there and not force:
        raise ArgumentError(f"{url}: exists ({there[0]}); give -f (force=True) to replace it")
    return there


def _own(names: Iterable[str]) -> list[str]:
    """The Taut files among names."""
    return [name for name in names if name.endswith(TAUT_SUFFIXES)]


def _files_of(made: Path, path: str) -> dict[str, Path | bytes]:
    """What was written, by the names in the repository."""
    if made.is_file():
        return {path or made.name: made}
    found = sorted(one for one in made.rglob("*") if one.is_file())
    prefix = f"{path}/" if path else ""
    return {f"{prefix}{one.relative_to(made).as_posix()}": one for one in found}


def _put_all(store: Store, made: Path) -> None:
    base = store.path.rstrip("/")
    if made.is_file():
        _put(store, made, base)
    elif made.is_dir():
        files = (path for path in made.rglob("*") if path.is_file())
        for path in sorted(files, key=_last_the_weights):
            _put(store, path, f"{base}/{path.relative_to(made).as_posix()}")


def _last_the_weights(path: Path) -> tuple[int, str]:
    name = path.name
    weights = name.endswith((SUFFIX, ".safetensors"))
    order = weights + 2 * name.endswith(INDEX_SUFFIX) + 3 * name.endswith(TREE_SUFFIX)
    return (order, str(path))


def _put(store: Store, local: Path, path: str) -> None:
    """Put one file, whole or not at all."""
    system = store.system
    with reaching(store.url):
        system.makedirs(system._parent(path), exist_ok=True)
        if store.protocol in _WHOLE_AT_ONCE:
            system.put_file(str(local), path)
            return
        temporary = f"{path}.{secrets.token_hex(8)}.tmp"
        try:
            system.put_file(str(local), temporary)
            system.mv(temporary, path)
        except BaseException:
            with contextlib.suppress(Exception):
                system.rm_file(temporary)
            raise
