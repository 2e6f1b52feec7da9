"""Storage elsewhere, by its URL: `s3://`, `gs://`, `hf://`, `memory://`, whatever fsspec opens.

Credentials are taken where each store's own library finds them. `file://` is a local path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from taut.errors import ArgumentError, TautError
from taut.extras import need_extra

_URL: Final = re.compile(r"([a-z][a-z0-9+.-]+):/(/?)(?=[^/]|/[^/])")
_BARE: Final = re.compile(r"([a-z][a-z0-9+.-]+):(/*)")
_LOCAL: Final = "file"
_GOOGLE: Final = ("gs", "gcs")
_MARKS: Final = (
    *("size", "ETag", "etag", "LastModified", "last_modified", "mtime", "created", "generation"),
    *("md5Hash", "blob_id"),
)
_HINTS: Final = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, or gcloud auth application-default login",
    "hf": "HF_TOKEN, or hf auth login",
}
_FORMS: Final = {  # what comes first in a URL, and how the whole of it is written
    **dict.fromkeys(("s3", "s3a", *_GOOGLE), ("bucket", "BUCKET/PATH")),
    **dict.fromkeys(("az", "abfs"), ("container", "CONTAINER/PATH")),
    **dict.fromkeys(("http", "https"), ("host", "HOST/PATH")),
    "hf": ("repository", "ORG/NAME"),
    "file": ("path", "/PATH"),
    "memory": ("path", "PATH"),
}
_ROOTED: Final = ("file", "memory")  # of which a path may begin with a slash


@dataclass(frozen=True)
class StoreFile:
    """A file of a store: its path there, its bytes, and what tells whether it is still the same."""

    path: str
    nbytes: int
    mark: tuple[str, ...]


@dataclass(frozen=True)
class Store:
    """Where a URL points: `system` is fsspec's, `path` what the URL names in it."""

    url: str
    protocol: str
    system: Any
    path: str

    def files(self) -> dict[str, StoreFile]:
        """The files that the URL names, by their names below it; a lone file's is its own.

        Raises:
            ArgumentError: nothing is there, or it cannot be reached.
        """
        with reaching(self.url):
            self.system.invalidate_cache()
            if self.system.isfile(self.path):
                about = self.system.info(self.path)
                return {self.path.rsplit("/", 1)[-1]: _file(self.path, about)}
            found = self.system.find(self.path, detail=True)
        if not found:
            raise ArgumentError(f"{self.url}: no such file or folder")
        start = len(self.system._strip_protocol(self.path).strip("/"))
        return {
            name.strip("/")[start:].lstrip("/"): _file(name, about)
            for name, about in sorted(found.items())
        }

    def is_file(self) -> bool:
        """Whether it is a file; raises ArgumentError if that cannot be asked."""
        with reaching(self.url):
            return bool(self.system.isfile(self.path))

    def is_there(self) -> bool:
        """Whether there is a file, or a folder with some; raises ArgumentError as `is_file`."""
        with reaching(self.url):
            self.system.invalidate_cache()
            if self.system.isfile(self.path):
                return True
            return bool(self.system.exists(self.path) and self.system.find(self.path, maxdepth=1))


def url_of(name: object) -> str | None:
    """The URL that a name is, also where a `Path` made one slash of two; None of other names.

    Raises:
        ArgumentError: it is a URL that lacks what comes first after its scheme, as `hf://` does.

    >>> url_of("s3://bucket/model"), url_of(Path("s3://bucket/model"))
    ('s3://bucket/model', 's3://bucket/model')
    >>> url_of("build.py:model"), url_of("C:/model")
    (None, None)
    """
    if not isinstance(name, (str, Path)):
        return None
    text = name.as_posix() if isinstance(name, Path) else name
    if _BARE.match(text) is None or Path(text).exists():
        return None
    found = _URL.match(text)
    _check_names_something(text, is_path=isinstance(name, Path))
    if found is None or (not found[2] and not isinstance(name, Path)):
        return None
    return f"{found[1]}://{text[found.end() :]}"


def _check_names_something(text: str, *, is_path: bool) -> None:
    """Raise `ArgumentError` for a URL that lacks what comes first after its scheme.

    A `Path` has lost slashes, so that only the scheme of a known store tells it from a file's name.
    """
    found = _BARE.match(text)
    if found is None:
        return
    scheme, slashes = found[1], len(found[2])
    rest = text[found.end() :]
    if _is_cut_short(scheme, slashes, rest, is_path):
        what, form = _FORMS.get(scheme, ("path", "PATH"))
        told = text if rest else f"{scheme}://"
        raise ArgumentError(f"{told}: names no {what}; give {scheme}://{form}")


def _is_cut_short(scheme: str, slashes: int, rest: str, is_path: bool) -> bool:
    """Whether a URL of so many slashes and a `rest` lacks its first part."""
    known = scheme in _FORMS
    if not rest:
        return slashes > 1 or (is_path and known)
    return slashes > 2 and known and scheme not in _ROOTED


def store_hint(path: Path) -> str:
    """What to do about a URL where only this machine's files serve, for a message's end, or ""."""
    if url_of(path) is None:
        return ""
    return "; it is in a store, which this does not reach: use files of this machine, and copy them"


def open_store(url: str) -> Store:
    """The store of a URL.

    Raises:
        ArgumentError: fsspec, or what it opens such URLs with, is not installed, or it knows none.
    """
    fsspec = need_extra("fsspec", "remote", f"{url}: to open it takes")
    protocol = url.split("://", 1)[0]
    with reaching(url):
        try:
            system, path = fsspec.core.url_to_fs(url)
        except ImportError as error:
            extra = "gs" if protocol in _GOOGLE else "remote"
            raise ArgumentError(f"{url}: {error}; pip install 'taut[{extra}]'") from None
        except ValueError as error:
            raise ArgumentError(f"{url}: no such kind of storage is known ({error})") from None
    return Store(url, protocol, system, path)


def local_of(url: str) -> Path | None:
    """The path that a `file://` names; None of other URLs."""
    protocol, _, rest = url.partition("://")
    return Path("/" + unquote(rest).lstrip("/")) if protocol == _LOCAL else None


@contextmanager
def reaching(url: str) -> Iterator[None]:
    """Say of whatever a store's library raises what could not be reached.

    Raises:
        ArgumentError: the body raised anything but a TautError.
    """
    try:
        yield
    except (TautError, MemoryError):
        raise
    except FileNotFoundError:
        raise ArgumentError(f"{url}: no such file or folder") from None
    except Exception as error:  # each store's library has its own
        lines = str(error).strip().splitlines() or [type(error).__name__]
        hint = _HINTS.get(url.split("://", 1)[0])
        where = f"; credentials are read from {hint}" if hint else ""
        raise ArgumentError(
            f"{url}: cannot be reached ({type(error).__name__}: {lines[0][:300]}){where}"
        ) from error


def _file(path: str, about: dict[str, Any]) -> StoreFile:
    mark = tuple(f"{key}={about[key]}" for key in _MARKS if about.get(key) is not None)
    return StoreFile(path, int(about.get("size") or 0), mark)
