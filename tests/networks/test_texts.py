"""Texts, one a line, and the lines that are none."""

from pathlib import Path

import pytest

from taut.errors import ArgumentError
from taut.networks import read_texts
from taut.networks.data_files import read_documents
from taut.networks.text_data import TextData


def write(folder: Path, data: str | bytes, name: str) -> Path:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def test_lines_without_blank_ones(tmp_path: Path) -> None:
    data = "\ufeffone \r\n\n  \ntwo\u2028still two\nthree"
    path = write(tmp_path, data, "a.txt")
    assert read_texts(path) == ["one", "two\u2028still two", "three"]
    assert read_texts(str(path), limit=2) == ["one", "two\u2028still two"]


def test_the_field_text_or_else_the_first_that_is_one(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '{"id": 1, "title": "no", "text": "yes"}\n\n{"id": 2, "body": "first", "more": "x"}\n'
        '{"text": " "}\n{"text": "Zw\\u00f6lf"}\n',
        "a.JSONL",
    )
    assert read_texts(path) == ["yes", "first", "Zwölf"]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.txt", "", "has no texts"),
        ("a.txt", " \n\n", "has no texts"),
        ("a.jsonl", '{"text": ""}', "has no texts"),
        ("a.txt", b"one\ntw\xe9\n", "line 2, byte 3: is not UTF-8"),
        ("a.txt", "one".encode("utf-16"), "is not UTF-8"),
        ("a.jsonl", '{"text": "a"}\n\n{"text": \n', "line 3: is not JSON"),
        ("a.jsonl", "3\n", 'line 1: is no object as {"text": "..."}'),
        ("a.jsonl", '{"text": 3, "x": []}', 'line 1: has no text as "text" nor in another field'),
        ("a.jsonl", '{"id": 3}', '(it has "id", which is no text)'),
        ("a.jsonl", '{"text": null, "x": {}}', '"text", which is empty; "x", an object'),
        ("a.jsonl", "{}", "(it has none)"),
        ("a.jsonl", "[" * 100_000, "line 1: is not JSON"),
        ("a.csv", "x,y", "texts come as .txt or .jsonl"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, name: str, data: str | bytes, message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        read_texts(write(tmp_path, data, name))
    assert message in str(caught.value)


def test_a_missing_file_names_its_neighbours(tmp_path: Path) -> None:
    write(tmp_path, "x", "texts.txt")
    with pytest.raises(ArgumentError, match=r"no such file; nearest: texts\.txt"):
        read_texts(tmp_path / "text.txt")


def test_what_a_folder_holds_beside_its_texts_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one text")
    assert read_documents(TextData(str(tmp_path))) == (["one text"], [])
    for name in ("t.csv", ".hidden", "dataset_info.json"):
        (tmp_path / name).write_text("x")
    documents, notes = read_documents(TextData(str(tmp_path)))
    assert documents == ["one text"]
    assert notes == [f"{tmp_path}: not read are t.csv"]
