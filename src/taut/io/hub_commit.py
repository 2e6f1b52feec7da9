"""Puts files into a repository of the Hugging Face hub: all of them in one commit, or none."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from taut.errors import ArgumentError
from taut.io.hub_repository import Repository, open_repository
from taut.io.hub_url import HubUrl
from taut.io.hub_words import again, endpoint, is_offline, need_hub, speaking

_UNCHANGED: Final = "nothing was changed there"


def open_for_writing(url: HubUrl, *, create: bool, private: bool) -> Repository | None:
    """What is in a repository that is to be written; None if it is to be made (`create`).

    Raises:
        ArgumentError: there is no token or no such repository or branch, or the hub cannot be
            reached; nothing was changed.
    """
    hub = need_hub(url)
    if is_offline():
        raise ArgumentError(f"{url}: HF_HUB_OFFLINE forbids to write to the hub; unset it")
    if hub.get_token() is None:
        raise ArgumentError(f"{url}: to write to the hub takes a token: HF_TOKEN, or hf auth login")
    try:
        found = open_repository(url)
    except ArgumentError as error:
        if type(error.__cause__).__name__ != "RepositoryNotFoundError":
            raise
        if create:
            return None
        raise ArgumentError(
            f"{url}: no such repository, or one that this token may not see; --create (create=True)"
            " makes it, with --private one that only you see"
        ) from error
    if found.local:
        raise ArgumentError(f"{url}: the hub at {endpoint()} cannot be reached; {_UNCHANGED}")
    if private:
        raise ArgumentError(f"{url}: is there already; --private is for one that is made")
    return found


def commit_files(
    url: HubUrl,
    files: Mapping[str, Path | bytes],
    *,
    message: str,
    without: Collection[str] = (),
    create: bool = False,
    private: bool = False,
) -> str:
    """Write files, and remove those of `without`, in one commit; gives its address.

    Whoever looks at the repository sees all of it or nothing: large files are sent first, under no
    name, and the commit names them.

    Raises:
        ArgumentError: the hub refused it, or cannot be reached; nothing was changed there.
    """
    hub = need_hub(url)
    api = hub.HfApi(endpoint=endpoint())
    with speaking(url, after=_UNCHANGED):
        if create:
            again(
                lambda: api.create_repo(
                    url.repo, repo_type=url.kind, private=private, exist_ok=True
                )
            )
        found: Any = again(
            lambda: api.create_commit(
                url.repo,
                [
                    *(hub.CommitOperationAdd(name, _given(one)) for name, one in files.items()),
                    *(hub.CommitOperationDelete(name) for name in without),
                ],
                commit_message=message,
                repo_type=url.kind,
                revision=url.revision,
            )
        )
    _check_all_there(api, url, str(found.oid), files)
    return str(found.commit_url)


def _check_all_there(api: Any, url: HubUrl, commit: str, files: Collection[str]) -> None:
    """Raise `ArgumentError` where a hub took a commit and left files out of it."""
    try:
        now = api.repo_info(url.repo, repo_type=url.kind, revision=commit)
    except Exception:  # it was taken; what cannot be asked now is no reason to say otherwise
        return
    there = {one.rfilename for one in now.siblings or ()}
    left = [name for name in files if name not in there]
    if now.sha == commit and left:
        raise ArgumentError(
            f"{url}: the hub took the commit {commit[:12]} and left out "
            f"{', '.join(sorted(left)[:3])}: a .gitignore of the repository names such files; "
            "take that out, and push again with -f"
        )


def _given(one: Path | bytes) -> str | bytes:
    return str(one) if isinstance(one, Path) else one
