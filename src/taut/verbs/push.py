"""The verb `push`: a Taut file or folder into a repository of the Hugging Face hub, with a card."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from taut.container import BaseSpec, open_taut
from taut.container.find import SUFFIX, TAUT_SUFFIXES, as_path, find_file
from taut.container.info import describe
from taut.container.original_card import CARD, original_card
from taut.container.verify import verify
from taut.display import displayed
from taut.errors import ArgumentError
from taut.io.folder_files import read_tree
from taut.io.hub_commit import commit_files, open_for_writing
from taut.io.hub_repository import Repository
from taut.io.hub_url import HubUrl, hub_of
from taut.progress import Shown
from taut.reporting.model_card import CardFacts, model_card
from taut.reporting.numbers import size
from taut.reporting.plain_text import plural
from taut.reporting.reading import read_json
from taut.scoring.results import Evaluation

__all__ = ["Pushed", "push"]

_REPO: Final = re.compile(r"[\w-][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class Pushed:
    """What was put where: the commit's address ("" of a dry run), files and bytes, and the card.

    `removed` are Taut files of before, which are not of this model; `notes` tell what was left.
    """

    url: str
    commit: str
    files: tuple[str, ...]
    size: int
    card: str
    removed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """In three lines at most."""
        first = (
            f"{self.url or 'not pushed'}: {size(self.size)} in {plural(len(self.files), 'file')}"
        )
        return "\n".join(filter(None, (first, *self.notes[:2])))

    def to_json(self) -> dict[str, object]:
        """As plain JSON values."""
        listed = {name: list(getattr(self, name)) for name in ("files", "removed", "notes")}
        return {**vars(self), **listed}


def push(
    file: str | Path,
    url: str,
    *,
    base_model: str | None = None,
    license: str | None = None,
    evaluation: Evaluation | str | Path | None = None,
    command: str | None = None,
    message: str | None = None,
    create: bool = False,
    private: bool = False,
    force: bool = False,
    dry_run: bool = False,
    threads: int | None = None,
    base: BaseSpec | None = None,
    progress: Shown = True,
) -> Pushed:
    """Put a Taut file, or a model folder, into `hf://org/name[@branch]`, in one commit.

    It is checked to the last byte first, a delta with its `base` (see `taut.load`). A card is
    written beside it: what was done, sizes and losses, how to load it, and the command.
    `base_model` ("org/name"), `license`, and all that hubs read of a card are those of the
    original's card, which a folder has, unless they are given; `evaluation` is what `evaluate`
    gave, or a file of `taut eval --json`. With `create` a repository that is not there is made,
    `private` if so wished. What is there is replaced with `force` alone, and Taut files of
    another model then go. A dry run writes the card alone.

    Raises:
        ArgumentError: no such file, repository or branch, no token or one that may not write, or
            the hub cannot be reached; nothing was changed there.
        FormatError, VerifyError: the file is damaged.
    """
    place = _place(url, create=create, private=private)
    path = as_path(file)
    facts = _facts(path, place, base_model, license, evaluation, command)
    files, notes = _files(path)
    card = model_card(facts)
    if dry_run:
        whole = _size({**files, CARD: card})
        return Pushed(url, "", tuple(sorted({*files, CARD})), whole, card.decode(), notes=notes)
    there = open_for_writing(place, create=create, private=private)
    with displayed(progress) as step:
        verify(path, threads=threads, base=base, progress=step)
    stale = _stale(there, files, force=force)
    given: dict[str, Path | bytes] = {**files, CARD: card}
    if there is not None and CARD in there.files and not force and CARD not in files:
        del given[CARD]
        notes += (f"{CARD}: the repository's own stays; -f (force=True) replaces it",)
    commit = commit_files(
        place,
        given,
        message=message or f"Add {place.repo.rpartition('/')[2]}, compressed by Taut",
        without=stale,
        create=there is None,
        private=private,
    )
    return Pushed(url, commit, tuple(sorted(given)), _size(given), card.decode(), stale, notes)


def _place(url: str, *, create: bool, private: bool) -> HubUrl:
    found = hub_of(url)
    if found is None or found.kind != "model" or "/" not in found.repo:
        raise ArgumentError(f"{url}: push writes to the Hugging Face hub; give hf://ORG/NAME")
    if found.path:
        raise ArgumentError(
            f"{url}: a repository holds one model; leave out /{found.path}, or write there with "
            f"taut compress -o {url}"
        )
    if private and not create:
        raise ArgumentError("private (--private): goes with create (--create)")
    if create and found.revision is not None:
        raise ArgumentError(f"{url}: a repository that is made has no other branch; leave out @")
    return found


def _facts(
    path: Path,
    place: HubUrl,
    base_model: str | None,
    license: str | None,
    evaluation: Evaluation | str | Path | None,
    command: str | None,
) -> CardFacts:
    """What the card tells."""
    if isinstance(evaluation, str | Path):
        evaluation = read_json(Path(evaluation), Evaluation)
    opened = open_taut(path)
    folder = path if path.is_dir() else None
    config = _config(folder)
    card = b"" if folder is None else _read(folder / CARD)
    return CardFacts(
        info=describe(opened),
        repo=place.repo,
        revision=place.revision,
        original=original_card(Path(CARD), card),
        base_model=base_model or _named_by(config, card),
        license=license,
        evaluation=evaluation,
        command=command,
        file="" if folder is not None else _name(find_file(path)),
        transformers="quantization_config" in config,
    )


def _config(folder: Path | None) -> dict[str, object]:
    """The config of transformers, where there is one."""
    try:
        found = json.loads(_read(folder / "config.json")) if folder is not None else {}
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _named_by(config: Mapping[str, object], card: bytes) -> str | None:
    """The repository that a config names as its own, where no card says it."""
    name = config.get("_name_or_path")
    if b"base_model:" in card or not isinstance(name, str) or not _REPO.fullmatch(name):
        return None
    return None if Path(name).exists() else name


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _files(path: Path) -> tuple[dict[str, Path], tuple[str, ...]]:
    """What goes, by its name there, and notes."""
    found = find_file(path)
    own = open_taut(found).own_files
    if not path.is_dir():
        if len(own) == 1:
            return {_name(found): found}, ()
        return {one.relative_to(found.parent).as_posix(): one for one in own}, ()
    names = frozenset(one.relative_to(path).as_posix() for one in own)
    beside = read_tree(path, names)
    files = {one.relative_to(path).as_posix(): one for one in (*own, *beside.companions)}
    return files, beside.notes


def _name(file: Path) -> str:
    """What a file is called there: as a Taut file, by which folders are read."""
    return file.name if file.name.endswith(TAUT_SUFFIXES) else f"{file.stem}{SUFFIX}"


def _size(files: Mapping[str, Path | bytes]) -> int:
    return sum(len(one) if isinstance(one, bytes) else one.stat().st_size for one in files.values())


def _stale(there: Repository | None, files: Mapping[str, Path], *, force: bool) -> tuple[str, ...]:
    """The Taut files that are there, and are not replaced: they would be taken for this model's."""
    names = () if there is None else tuple(there.files)
    own = [name for name in names if name.endswith(TAUT_SUFFIXES)]
    if own and not force and there is not None:
        raise ArgumentError(
            f"{there.told}: has a Taut model already ({own[0]}); give -f (force=True) to replace it"
        )
    return tuple(name for name in own if name not in files)
