"""Texts, chats and rows as full windows: what is in them, and what is refused."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from taut.errors import ArgumentError
from taut.networks import Calibration, LoadedModel, TextData, open_calibration, open_model
from taut.networks.data_files import default_documents
from taut.networks.text_batches import FolderTokenizer
from taut.networks.windows import blended

torch = pytest.importorskip("torch")

WORDS = ["the", "a", "cat", "dog", "sat", "ran", "on", "mat", "and", "far", "away", "home"]
FIRST, END = 2, 14  # the number of "the", and of "[END]"
CHAT = "{% for m in messages %}{{ m.role }} {{ m.content }} {% endfor %}"


@pytest.fixture
def lm(lm_folder: Path) -> LoadedModel:
    """A causal language model with a tokenizer."""
    return open_model(lm_folder)


@pytest.fixture
def chatty(lm: LoadedModel) -> LoadedModel:
    """The same with a chat template."""
    assert isinstance(lm.tokenize, FolderTokenizer)
    lm.tokenize.tokenizer.chat_template = CHAT
    return lm


def numbers(words: str) -> list[int]:
    return [WORDS.index(word) + FIRST for word in words.split()]


def tokens_of(calibration: Calibration) -> np.ndarray:
    """All windows, shape (windows, length)."""
    return np.concatenate([batch["input_ids"].numpy() for batch in calibration])  # type: ignore[index]


def write(folder: Path, name: str, data: str | Sequence[object]) -> Path:
    path = folder / name
    text = data if isinstance(data, str) else "".join(json.dumps(one) + "\n" for one in data)
    path.write_text(text)
    return path


def test_texts_fill_windows_and_are_parted_by_the_end(lm: LoadedModel, tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt", "the cat sat\na dog\n\nran home\n")
    found = open_calibration(f"{path},length=4", lm)
    joined = [*numbers("the cat sat"), END, *numbers("a dog"), END, *numbers("ran home"), END]
    assert tokens_of(found).ravel().tolist() == joined[:8]
    assert all(bool(batch["attention_mask"].all()) for batch in found)  # type: ignore[index]
    assert found.notes[0].endswith(
        "3 texts of 10 tokens are 2 windows of 4 tokens; the last 2 tokens do not fill one, and "
        "are left out"
    )
    assert found.samples == 2


def test_the_length_is_the_networks_or_halved_where_data_are_few(
    lm: LoadedModel, tmp_path: Path
) -> None:
    many = write(tmp_path, "many.txt", "the cat sat on the mat and ran home\n" * 400)
    assert tokens_of(open_calibration(many, lm)).shape == (4000 // 96, 96)
    few = write(tmp_path, "few.txt", "the cat sat on the mat and ran home\n" * 30)
    assert tokens_of(open_calibration(few, lm)).shape == (300 // 48, 48)
    least = open_calibration(write(tmp_path, "one.txt", "the cat\n"), lm)
    assert tokens_of(least).tolist() == [[*numbers("the cat"), END]]
    assert any("3 tokens are few" in note for note in least.notes)


def test_windows_begin_as_the_tokenizer_begins_texts(lm: LoadedModel, tmp_path: Path) -> None:
    assert isinstance(lm.tokenize, FolderTokenizer)

    class Begins(FolderTokenizer):
        head = (1,)  # type: ignore[assignment]

    tokenize = Begins(lm.tokenize.tokenizer, 96, None, 16)
    path = write(tmp_path, "a.txt", "the cat sat on the mat\n" * 3)
    found = tokens_of(open_calibration(f"{path},length=8", replace(lm, tokenize=tokenize)))
    assert found[:, 0].tolist() == [1, 1, 1]
    assert found[:, 1:].ravel().tolist() == [*numbers("the cat sat on the mat"), END] * 3


def test_a_network_that_sees_both_sides_is_given_texts_one_by_one(
    bert_folder: Path, tmp_path: Path
) -> None:
    path = write(tmp_path, "a.txt", "the cat sat\na dog\n")
    assert open_calibration(path, open_model(bert_folder)).samples == 2


def test_what_a_text_ends_with(lm: LoadedModel, tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt", "the cat\nsat\n\na dog\n")
    for apart, ends in (("line", 3), ("paragraph", 2), ("file", 1)):
        found = tokens_of(open_calibration(f"{path},apart={apart},length={5 + ends}", lm))
        assert (found == END).sum() == ends


def test_chats_go_through_the_template(chatty: LoadedModel, tmp_path: Path) -> None:
    says = [{"role": "the", "content": "cat sat"}, {"role": "a", "content": "dog"}]
    shared = [{"from": "the", "value": "cat sat"}, {"from": "a", "value": "dog"}]
    wanted = [*numbers("the cat sat a dog"), END] * 2
    for name, entry in (("m", {"id": 1, "messages": says}), ("c", {"conversations": shared})):
        path = write(tmp_path, f"{name}.jsonl", [entry, entry])
        assert tokens_of(open_calibration(f"{path},length=6", chatty)).ravel().tolist() == wanted
    in_memory = TextData([{"messages": says}, {"messages": says}], length=6)
    assert tokens_of(open_calibration(in_memory, chatty)).ravel().tolist() == wanted


def test_chats_want_a_template(lm: LoadedModel, tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", [{"messages": [{"role": "user", "content": "the"}]}])
    with pytest.raises(ArgumentError, match=r"a\.jsonl: chats want a chat template.*chat_template"):
        open_calibration(path, lm)


def test_a_template_that_fails_is_told(chatty: LoadedModel, tmp_path: Path) -> None:
    assert isinstance(chatty.tokenize, FolderTokenizer)
    chatty.tokenize.tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    path = write(tmp_path, "a.jsonl", [{"messages": [{"role": "user", "content": "the"}]}])
    with pytest.raises(ArgumentError, match=r"the chat template fails .*roles must alternate"):
        open_calibration(path, chatty)


def test_lists_of_texts_rows_and_tokens(lm: LoadedModel) -> None:
    wanted = [*numbers("the cat sat"), END, *numbers("a dog"), END]
    for given in (
        ["the cat sat", "a dog"],
        [{"text": "the cat sat"}, {"text": "a dog"}],
        [numbers("the cat sat"), numbers("a dog")],
        [{"input_ids": numbers("the cat sat")}, {"input_ids": numbers("a dog")}],
    ):
        assert tokens_of(open_calibration(given, lm)).tolist() == [wanted]


def test_json_lists_and_columns(lm: LoadedModel, tmp_path: Path) -> None:
    rows = [{"text": "dog", "body": "the cat"}, {"text": "dog", "body": "sat on"}]
    wanted = [*numbers("the cat"), END, *numbers("sat on"), END]
    for name, data in (("a.json", json.dumps({"data": rows})), ("b.json", json.dumps(rows))):
        path = write(tmp_path, name, data)
        assert tokens_of(open_calibration(f"{path},column=body", lm)).tolist() == [wanted]
    with pytest.raises(
        ArgumentError, match=r'no column "bdy" \(it has text, body\); nearest: body'
    ):
        open_calibration(f"{path},column=bdy", lm)


def test_a_folder_of_texts_one_document_each(lm: LoadedModel, tmp_path: Path) -> None:
    write(tmp_path, "b.txt", "a dog\nran")
    write(tmp_path, "a.txt", "the cat\n\nsat")
    wanted = [*numbers("the cat sat"), END, *numbers("a dog ran"), END]
    assert tokens_of(open_calibration(tmp_path, lm)).tolist() == [wanted]
    write(tmp_path, "c.jsonl", [{"text": "a"}])
    with pytest.raises(ArgumentError, match=r"files of several kinds \(1 .jsonl, 2 .txt\)"):
        open_calibration(tmp_path, lm)


def test_windows_are_taken_evenly(lm: LoadedModel) -> None:
    rows = [[2 + i] * 3 for i in range(10)]
    found = tokens_of(open_calibration(TextData(rows, length=4, windows=5), lm))
    assert found[:, 0].tolist() == [2, 4, 6, 8, 10]


def test_default_is_the_texts_that_come_with_the_package(lm: LoadedModel) -> None:
    found = open_calibration("default,windows=6", lm)
    assert found.samples == 6
    assert open_calibration("default", lm).samples > 50


def test_blending_adds_its_share_and_says_so(
    lm: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, "a.txt", "the cat sat on the mat and ran home\n" * 400)
    plain = open_calibration(f"{path},blend=0", lm)
    unknown = open_calibration(path, lm)  # of Taut's texts this tokenizer knows no word
    assert (plain.samples, unknown.digest) == (41, plain.digest)
    monkeypatch.setattr(FolderTokenizer, "knows", lambda *_: True)
    mixed = open_calibration(path, lm)
    assert mixed.samples == 46
    assert any("5 windows more are of the texts that come with Taut" in one for one in mixed.notes)
    assert open_calibration(f"{path},blend=0.2", lm).samples == 51
    row = np.array(tokens_of(plain).ravel())  # tokens are taken as they are
    assert open_calibration(row, lm).digest == plain.digest


def test_what_is_blended_is_spread_over_all() -> None:
    own, other = np.zeros((20, 2), int), np.ones((50, 2), int)
    assert np.flatnonzero(blended(own, other, 0.2)[:, 0]).tolist() == [2, 7, 12, 17, 22]
    assert len(blended(own[:4], other, 0.1)) == 4


def test_a_tokenizer_knows_what_it_has_tokens_for(lm: LoadedModel) -> None:
    assert isinstance(lm.tokenize, FolderTokenizer)
    assert lm.tokenize.knows("the cat sat on the mat")
    assert not lm.tokenize.knows("the cat sat on the table")


def test_tokens_that_the_network_has_not_are_left_out_or_told(lm: LoadedModel) -> None:
    """Tokenizers know more than their networks: an end of texts, or padding, that was added."""
    assert isinstance(lm.tokenize, FolderTokenizer)
    texts = ["the cat", "the dog ran home"]
    assert END in lm.tokenize.joined(texts, "calib")
    without_end = replace(lm.tokenize, vocabulary=END)
    assert without_end.joined(texts, "calib").tolist() == numbers(" ".join(texts))
    padding = without_end.tokenizer.add_tokens("[MORE]", special_tokens=True)
    without_end.tokenizer.pad_token = "[MORE]"
    try:
        batch = without_end(texts)
        assert padding == 1
        assert (batch["input_ids"][0] == 0).sum() == 2
        few = replace(lm.tokenize, vocabulary=FIRST + 1)
        for read in (few, lambda some: few.joined(some, "texts")):
            with pytest.raises(ArgumentError, match=r"texts: token \d+ .* has 0 to 2"):
                read(texts)
    finally:
        without_end.tokenizer.pad_token = "[PAD]"


def test_default_texts_say_where_they_are_from() -> None:
    path = Path(__file__).parents[2] / "src/taut/networks/default_texts.jsonl"
    assert path.stat().st_size < 200_000
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(default_documents()) == len(rows)
    assert all(row["origin"].startswith(("Public domain: ", "Written for Taut")) for row in rows)
    assert {"code, Python", "dialogue", "novel, German", "law, English"} <= {
        r["kind"] for r in rows
    }


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.txt", "", "a.txt: has no texts"),
        ("a.json", "{}", "has no text as"),
        ("a.json", "[1]", "a.json, entry 1: is no object"),
        ("a.json", '{"a": [', "a.json: is not JSON"),
        ("a.json", '"a"', "is no list of texts or objects"),
        ("a.jsonl", '{"messages": []}', "has no texts"),
        ("a.jsonl", '{"messages": ["a"]}', "no list of messages with role and content"),
        ("a.jsonl", '{"messages": [{"a": 1}]}', 'has no "role" and "content" (it has "a")'),
        ("a.jsonl", '{"messages": [{"role": "a"}]}', 'has no "role" and "content"'),
        ("a.jsonl", '{"input_ids": [1, 99]}', "token 99 at (1) is not of the network's vocabulary"),
        ("a.jsonl", '{"input_ids": [0.5]}', "no list of tokens"),
    ],
)
def test_mistakes_are_named(
    lm: LoadedModel, tmp_path: Path, name: str, data: str, message: str
) -> None:
    with pytest.raises(ArgumentError) as caught:
        open_calibration(write(tmp_path, name, data), lm)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("length=97", "windows of 97 tokens; the network takes at most 96"),
        ("length=1", "windows of 1 tokens"),
        ("length=x", 'length=x: "x" is not a whole number'),
        ("lenght=4", 'no option "lenght"; there are length, windows, column, apart, pack, blend'),
        ("blend=1", "blend: 1 is no share"),
        ("pack=maybe", 'pack=maybe: "maybe" is not yes or no'),
        ("apart=word", "apart: word is none of line, paragraph, file"),
        ("column=a", 'has no columns; leave "column=a" out'),
        ("windows=0", "windows: 0 is less than 1"),
    ],
)
def test_options_that_will_not_do(
    lm: LoadedModel, tmp_path: Path, options: str, message: str
) -> None:
    path = write(tmp_path, "a.txt", "the cat\n" * 20)
    with pytest.raises(ArgumentError) as caught:
        open_calibration(f"{path},{options}", lm)
    assert message in str(caught.value)


def test_a_name_that_is_there_has_no_options(lm: LoadedModel, tmp_path: Path) -> None:
    path = write(tmp_path, "a,length=2", "the cat\n")
    with pytest.raises(ArgumentError, match="a,length=2: calibration data are"):
        open_calibration(path, lm)


def test_an_empty_folder_is_told(lm: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"no calibration data.*\(this one has nothing\)"):
        open_calibration(tmp_path, lm)
