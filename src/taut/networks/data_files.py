"""Documents from whatever holds them: a file of texts or rows, or a folder of such files."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Final

from taut.errors import ArgumentError
from taut.networks.arrow_rows import ARROW_SUFFIXES, arrow_rows, saved_files
from taut.networks.documents import Document, document_of, is_empty_document
from taut.networks.text_data import TextData
from taut.networks.texts import SUFFIXES, read_texts

DATA_SUFFIXES: Final = (*SUFFIXES, *ARROW_SUFFIXES)
DEFAULT: Final = "default"
_SHIPPED: Final = Path(__file__).with_name("default_texts.jsonl")
_ABOUT: Final = ("dataset_info.json", "dataset_dict.json", "dataset_infos.json", "state.json")


def read_documents(data: TextData, limit: int | None = None) -> tuple[list[Document], list[str]]:
    """The documents that a name stands for, and notes.

    It is `default` (the texts that come with the package), a file, or a folder of files of one
    kind; each `.txt` of a folder is one document.

    Raises:
        ArgumentError: nothing is there, or it cannot be read; says where.
    """
    path = Path(str(data.source))
    if str(data.source) == DEFAULT:
        return default_documents(), []
    if not path.is_dir():
        return _of_file(path, data, limit), []
    files, note = saved_files(path)
    notes = [note] if note else []
    if not files:
        files = _files_of(path)
        notes += _left_unread(path, files)
    documents: list[Document] = []
    inner = data.with_apart("file")
    for file in files:
        left = None if limit is None else limit - len(documents)
        if left == 0:
            break
        documents += _of_file(file, inner, left)
    return documents, notes


def default_documents() -> list[Document]:
    """The public-domain texts that come with the package; each line says where it is from."""
    return read_texts(_SHIPPED)


def _of_file(path: Path, data: TextData, limit: int | None) -> list[Document]:
    if path.suffix.lower() not in ARROW_SUFFIXES:
        return read_texts(path, limit, column=data.column, apart=data.apart)
    documents: list[Document] = []
    for number, row in enumerate(arrow_rows(path, data.column), 1):
        document = document_of(row, f"{path}, row {number}", data.column)
        if not is_empty_document(document):
            documents.append(document)
        if len(documents) == limit:
            break
    if not documents:
        raise ArgumentError(f"{path}: has no texts")
    return documents


def _files_of(folder: Path) -> list[Path]:
    """A folder's files of the one kind that can be read, by name."""
    kinds: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.rglob("*")):
        if _is_data(path, folder):
            kinds[path.suffix.lower()].append(path)
    if not kinds:
        names = ", ".join(sorted(one.name for one in folder.iterdir())[:8]) or "nothing"
        raise ArgumentError(
            f"{folder}: no calibration data; a folder has {', '.join(DATA_SUFFIXES)} files, or was "
            f"saved by datasets (this one has {names})"
        )
    if len(kinds) > 1:
        told = ", ".join(f"{len(files)} {kind}" for kind, files in sorted(kinds.items()))
        raise ArgumentError(f"{folder}: has files of several kinds ({told}); name one of them")
    return next(iter(kinds.values()))


def _left_unread(folder: Path, taken: list[Path]) -> list[str]:
    """A note that names the files of other kinds, if there are any; hidden ones are not told."""
    known = set(taken)
    left = [
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path not in known and path.name not in _ABOUT
    ]
    names = [name for name in left if not any(part.startswith(".") for part in name.split("/"))]
    if not names:
        return []
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return [f"{folder}: not read are {', '.join(names[:3])}{more}"]


def _is_data(path: Path, folder: Path) -> bool:
    """Whether a file holds documents: of a kind that does, not hidden, and not about others."""
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    is_kind = path.suffix.lower() in DATA_SUFFIXES and path.name not in _ABOUT
    return is_kind and not hidden and path.is_file()
