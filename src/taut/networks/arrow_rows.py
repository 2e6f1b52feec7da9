"""Rows of data sets in Arrow's formats: `.parquet` and `.arrow` files, and folders of `datasets`.

`datasets.save_to_disk` writes a folder of `.arrow` files in the order that its `state.json` names,
and a set of several splits as a folder of such folders with a `dataset_dict.json`. Both are read
with pyarrow alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from taut.errors import ArgumentError
from taut.extras import need_extra

ARROW_SUFFIXES: Final = (".parquet", ".arrow")
_SPLITS: Final = "dataset_dict.json"
_STATE: Final = "state.json"
_FIRST: Final = "train"


def saved_files(folder: Path) -> tuple[list[Path], str]:
    """The files of a folder that `datasets` saved, in order, and a note; none of another folder.

    Of several splits "train" is taken, or else the first.

    Raises:
        ArgumentError: what the folder says of itself cannot be read, or its files are not there.
    """
    note = ""
    if (folder / _SPLITS).is_file():
        folder, note = _split_of(folder)
    if not (folder / _STATE).is_file():
        return [], note
    listed = _read_json(folder / _STATE).get("_data_files")
    names = [one.get("filename") for one in listed] if isinstance(listed, list) else []
    files = [folder / Path(str(name)).name for name in names]
    if missing := [path for path in files if not path.is_file()]:
        raise ArgumentError(f"{missing[0]}: is not there, but {folder / _STATE} names it")
    return files, note


def _split_of(folder: Path) -> tuple[Path, str]:
    splits = _read_json(folder / _SPLITS).get("splits")
    if not isinstance(splits, list) or not splits:
        raise ArgumentError(f"{folder / _SPLITS}: names no splits")
    split = _FIRST if _FIRST in splits else str(splits[0])
    if len(splits) == 1:
        return folder / split, ""
    others = ", ".join(str(one) for one in splits if one != split)
    note = f'{folder}: the split "{split}" is used ({others}: name its folder for another)'
    return folder / split, note


def arrow_rows(path: Path, column: str | None) -> Iterator[Mapping[str, object]]:
    """The rows of a `.parquet` or `.arrow` file as dicts; of `column` alone if one is named.

    Raises:
        ArgumentError: pyarrow is not installed, or the file cannot be read.
    """
    arrow = need_extra("pyarrow", "datasets", f"{path}: to read it takes")
    try:
        for batch in _batches(path):
            names = batch.schema.names
            kept = [column] if column in names else names
            yield from batch.select(kept).to_pylist()
    except (arrow.ArrowInvalid, arrow.ArrowException, OSError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        raise ArgumentError(f"{path}: cannot be read ({lines[0]})") from None


def _batches(path: Path) -> Iterator[Any]:
    if path.suffix.lower() == ".parquet":
        parquet = need_extra("pyarrow.parquet", "datasets", f"{path}: to read it takes")
        with parquet.ParquetFile(path) as file:
            yield from file.iter_batches(1_000)
        return
    ipc = need_extra("pyarrow.ipc", "datasets", f"{path}: to read it takes")
    with path.open("rb") as file:
        is_stream = file.read(6) != b"ARROW1"
    with path.open("rb") as file:
        if is_stream:
            yield from ipc.open_stream(file)
        else:
            reader = ipc.open_file(file)
            yield from (reader.get_batch(i) for i in range(reader.num_record_batches))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ArgumentError(f"{path}: cannot be read ({error})") from None
    return found if isinstance(found, dict) else {}
