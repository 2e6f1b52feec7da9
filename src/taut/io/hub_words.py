"""What went wrong at the Hugging Face hub, in words that say what to do."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from types import ModuleType
from typing import Any, Final, TypeVar

from taut.errors import ArgumentError, TautError
from taut.extras import need_extra
from taut.io.hub_url import HubUrl

T = TypeVar("T")

TRIES: Final = 5  # of a request that fails for a reason that passes
_PASSING: Final = (408, 429, 500, 502, 503, 504)
_WAIT: Final = 0.5  # seconds before the second try; twice as many before each one after it
_MOST: Final = 30.0  # seconds of one wait, whatever the hub asks for
_TOKEN: Final = "HF_TOKEN, or hf auth login"


def need_hub(url: object) -> ModuleType:
    """The package that speaks to the hub; raises ArgumentError if it is not installed."""
    return need_extra("huggingface_hub", "hub", f"{url}: to open it takes")


def hub_tools(url: object) -> ModuleType:
    """What that package speaks with: sessions, headers, locks, bars."""
    return need_extra("huggingface_hub.utils", "hub", f"{url}: to open it takes")


def hub_constants(url: object) -> ModuleType:
    """What that package is set to; a module that importing the package does not bring."""
    need_extra("huggingface_hub", "hub", f"{url}: to open it takes")
    return import_module("huggingface_hub.constants")


def endpoint() -> str:
    """The hub's address: `HF_ENDPOINT`, or the public one."""
    found: str = hub_constants("hf://").ENDPOINT
    return (os.environ.get("HF_ENDPOINT") or found).rstrip("/")


def cache_folder() -> str:
    """Where the hub's files are kept on this machine: `HF_HUB_CACHE`, or the usual place."""
    found: str = hub_constants("hf://").HF_HUB_CACHE
    return os.environ.get("HF_HUB_CACHE") or found


def is_offline() -> bool:
    """Whether `HF_HUB_OFFLINE` forbids to ask the hub."""
    told = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    return told or bool(hub_constants("hf://").HF_HUB_OFFLINE)


def status_of(error: BaseException) -> int | None:
    """The HTTP status that an exception stands for; None where there was no answer."""
    return getattr(getattr(error, "response", None), "status_code", None)


def passes(error: Exception) -> bool:
    """Whether a failure may be gone at the next try: no answer, or one that says so."""
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
        return False
    status = status_of(error)
    if status is not None:
        return status in _PASSING
    return not isinstance(error, (TautError, ValueError, TypeError, FileNotFoundError))


def again(step: Callable[[], T], *, tries: int = TRIES) -> T:
    """What a step gives, which is tried again while its failure may pass."""
    for number in range(tries):
        try:
            return step()
        except Exception as error:
            if number == tries - 1 or not passes(error):
                raise
            wait(number, error)
    raise AssertionError("no try")


def wait(number: int, error: Exception) -> None:
    """Wait before another try: as long as the hub says, or longer each time."""
    headers: Any = getattr(getattr(error, "response", None), "headers", {})
    told = str(headers.get("Retry-After", ""))
    asked = float(told) if told.replace(".", "", 1).isdigit() else _WAIT * 2**number
    time.sleep(min(asked, _MOST))


_KEPT: Final = "what was fetched is kept, and the same command goes on from it"


@contextlib.contextmanager
def speaking(url: HubUrl, told: str | None = None, *, after: str = _KEPT) -> Iterator[None]:
    """Say of whatever the hub's library raises what is wrong with `url`, and what to do.

    `after` says of a connection that broke how things stand.

    Raises:
        ArgumentError: the body raised anything but a TautError.
    """
    name = told or str(url)
    try:
        yield
    except (TautError, MemoryError):
        raise
    except Exception as error:  # the library has a class for each of many causes
        raise ArgumentError(f"{name}: {_why(error, url, after)}") from error


def _why(error: Exception, url: HubUrl, after: str) -> str:
    kind, status = type(error).__name__, status_of(error)
    for name in (one.__name__ for one in type(error).__mro__):
        if name in _NAMED:
            return _NAMED[name](url)
    if isinstance(error, OSError) and error.errno is not None and status is None:
        return f"cannot be kept on this machine ({error.strerror}); HF_HUB_CACHE names another disk"
    if status is not None:
        return _STATUS.get(status, _of_status)(status, url)
    lines = str(error).strip().splitlines() or [kind]
    return f"the hub at {endpoint()} cannot be reached ({kind}: {lines[0][:200]}); {after}"


def _missing(url: HubUrl) -> str:
    return (
        f"no such repository, or a private one that this machine may not see; check the name "
        f"({url.repo}), or give a token that may ({_TOKEN})"
    )


def _gated(url: HubUrl) -> str:
    page = f"{endpoint()}/{'' if url.kind == 'model' else url.kind + 's/'}{url.repo}"
    return f"is gated: ask for access at {page}, then give a token of that account ({_TOKEN})"


def _no_revision(url: HubUrl) -> str:
    return f'the repository has no revision "{url.revision or "main"}"'


def _no_file(url: HubUrl) -> str:
    return f'no file "{url.path}" in this revision of the repository'


def _offline(url: HubUrl) -> str:
    return "is not on this machine, and HF_HUB_OFFLINE forbids to fetch it; unset it"


def _not_cached(url: HubUrl) -> str:
    return "is not on this machine, and the hub cannot be reached"


_NAMED: Final[dict[str, Callable[[HubUrl], str]]] = {
    "GatedRepoError": _gated,
    "RepositoryNotFoundError": _missing,
    "RevisionNotFoundError": _no_revision,
    "RemoteEntryNotFoundError": _no_file,
    "OfflineModeIsEnabled": _offline,
    "LocalEntryNotFoundError": _not_cached,
}


def _unknown(status: int, url: HubUrl) -> str:
    return f"the hub does not know the token (401); give another ({_TOKEN})"


def _forbidden(status: int, url: HubUrl) -> str:
    return (
        f"the hub refuses it (403): the token may not; give one that may read or write here "
        f"({_TOKEN})"
    )


def _too_many(status: int, url: HubUrl) -> str:
    return f"the hub has had too many requests (429); try again later, or with a token ({_TOKEN})"


def _of_status(status: int, url: HubUrl) -> str:
    if status == 404:
        return "the hub has nothing there (404); check the name, the revision and the file"
    if status >= 500:
        return f"the hub has trouble of its own ({status}); try again later"
    return f"the hub refuses it ({status})"


_STATUS: Final[dict[int, Callable[[int, HubUrl], str]]] = {
    401: _unknown,
    403: _forbidden,
    429: _too_many,
}
