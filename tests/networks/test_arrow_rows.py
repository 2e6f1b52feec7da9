"""Data sets in Arrow's formats: files, and folders as the datasets library saves them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from taut.errors import ArgumentError
from taut.networks.arrow_rows import arrow_rows, saved_files
from taut.networks.data_files import read_documents
from taut.networks.text_data import TextData

ROWS = [{"text": "the cat", "n": 1}, {"text": "", "n": 2}, {"text": "a dog", "n": 3}]


def documents(path: Path, **options: object) -> list[object]:
    return [*read_documents(TextData(str(path), **options))[0]]  # type: ignore[arg-type]


def test_parquet_and_arrow_files(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet, ipc = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow.ipc")
    table = arrow.Table.from_pylist(ROWS)
    parquet.write_table(table, tmp_path / "a.parquet")
    with ipc.new_stream(tmp_path / "b.arrow", table.schema) as writer:
        writer.write_table(table)
    with ipc.new_file(tmp_path / "c.arrow", table.schema) as writer:
        writer.write_table(table)
    for name in ("a.parquet", "b.arrow", "c.arrow"):
        assert documents(tmp_path / name) == ["the cat", "a dog"]
        assert [dict(row) for row in arrow_rows(tmp_path / name, "n")] == [
            {"n": 1}, {"n": 2}, {"n": 3},
        ]  # fmt: skip
        with pytest.raises(ArgumentError, match=r'row 1: has no column "txt" \(it has text, n\)'):
            documents(tmp_path / name, column="txt")
    (tmp_path / "d.parquet").write_bytes(b"PAR1")
    with pytest.raises(ArgumentError, match=r"d\.parquet: cannot be read"):
        documents(tmp_path / "d.parquet")


def save_rows(rows: list[dict[str, object]], folder: Path, files: int = 1) -> None:
    """A folder as `datasets` saves one: streams of Arrow, and their order."""
    arrow, ipc = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.ipc")
    folder.mkdir(parents=True)
    table = arrow.Table.from_pylist(rows)
    names = [f"data-{i:05}-of-{files:05}.arrow" for i in range(files)]
    for i, name in enumerate(names):
        start, stop = len(rows) * i // files, len(rows) * (i + 1) // files
        with ipc.new_stream(folder / name, table.schema) as writer:
            writer.write_table(table.slice(start, stop - start))
    state = {"_data_files": [{"filename": name} for name in names], "_split": None}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text("{}")


def saved_by_hand(one: Path, two: Path, chats: list[dict[str, object]]) -> None:
    save_rows(ROWS, one, 2)
    save_rows(ROWS, two / "test")
    save_rows(chats, two / "train")
    (two / "dataset_dict.json").write_text(json.dumps({"splits": ["test", "train"]}))


def saved_by_datasets(one: Path, two: Path, chats: list[dict[str, object]]) -> None:
    why = "datasets is not installed, since nothing else needs it; its layout is tested without it"
    datasets = pytest.importorskip("datasets", reason=why)
    rows = datasets.Dataset.from_list(ROWS)
    rows.save_to_disk(one, num_shards=2)
    both = datasets.DatasetDict(test=rows, train=datasets.Dataset.from_list(chats))
    both.save_to_disk(two)


@pytest.mark.parametrize("save", [saved_by_hand, saved_by_datasets])
def test_folders_that_datasets_saved(save: Callable[..., None], tmp_path: Path) -> None:
    save(tmp_path / "one", tmp_path / "two", [{"messages": [{"role": "user", "content": "hi"}]}])
    assert len(saved_files(tmp_path / "one")[0]) == 2
    assert documents(tmp_path / "one") == ["the cat", "a dog"]
    found, notes = read_documents(TextData(str(tmp_path / "two")))
    assert [type(one).__name__ for one in found] == ["Chat"]
    assert notes == [
        f'{tmp_path / "two"}: the split "train" is used (test: name its folder for another)'
    ]
    assert documents(tmp_path / "two" / "test") == ["the cat", "a dog"]


def test_a_saved_folder_without_its_files(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text(json.dumps({"_data_files": [{"filename": "x.arrow"}]}))
    with pytest.raises(ArgumentError, match=r"x\.arrow: is not there, but .*state\.json names it"):
        saved_files(tmp_path)
    (tmp_path / "dataset_dict.json").write_text("{}")
    with pytest.raises(ArgumentError, match=r"dataset_dict\.json: names no splits"):
        saved_files(tmp_path)
    (tmp_path / "dataset_dict.json").write_text("{")
    with pytest.raises(ArgumentError, match=r"dataset_dict\.json: cannot be read"):
        saved_files(tmp_path)


def test_what_reads_them_is_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(ArgumentError, match=r"pip install 'taut\[datasets\]'"):
        documents(tmp_path / "a.parquet")
