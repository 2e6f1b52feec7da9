"""GGUF's vocabulary: tokens, types and scores of each kind of tokenizer; those without one."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

import taut
from taut.errors import ArgumentError
from taut.exporting.gguf.splits import split_name
from taut.exporting.gguf.vocabulary import read_tokenizer

gguf = pytest.importorskip("gguf")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

S = "\u2581"
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
PIECES = ["<unk>", "<s>", "</s>", *BYTES, "a", "b", S, "ab", S + "a", S + "ab"]
MERGES = [["a", "b"], [S, "a"], [S, "ab"], [S + "a", "b"]]


def sentencepiece(**changes: object) -> dict[str, object]:
    """A tokenizer.json as transformers converts SentencePiece's pairs."""
    special = [{"id": i, "content": PIECES[i], "special": True} for i in range(3)]
    tree = {
        "model": {
            "type": "BPE", "byte_fallback": True, "unk_token": "<unk>", "merges": MERGES,
            "vocab": {text: number for number, text in enumerate(PIECES)},
        },
        "added_tokens": special,
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": S},
            {"type": "Replace", "pattern": {"String": " "}, "content": S}]},
        "pre_tokenizer": None,
    }  # fmt: skip
    model = {**tree["model"], **changes.pop("model", {})}
    return {**tree, "model": model, **changes}


def write(folder: Path, tree: dict[str, object] | None) -> Path:
    """A folder with a config and a tokenizer."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text('{"bos_token_id": 1, "eos_token_id": 2}')
    if tree is not None:
        (folder / "tokenizer.json").write_text(json.dumps(tree))
    return folder


def test_pieces_have_the_order_of_their_merges_as_scores(tmp_path):
    found = read_tokenizer(write(tmp_path / "m", sentencepiece()), len(PIECES) + 1)
    vocabulary = found.vocabulary
    assert (vocabulary.model, vocabulary.flags) == ("llama", {"add_space_prefix": True})
    assert list(vocabulary.texts) == [*PIECES, f"[PAD{len(PIECES)}]"]
    assert vocabulary.types[:4] == [2, 3, 3, 6]  # unknown, control, control, a byte
    assert vocabulary.types[-2:] == [1, 5]  # a piece, and a row that no token has
    scores = dict(zip(vocabulary.texts, vocabulary.scores, strict=True))
    assert scores["ab"] > scores[S + "a"] > scores[S + "ab"] > scores["a"]
    assert found.special.special_token_ids == {"bos": 1, "eos": 2}
    assert found.special.add_special_token == {"bos": False, "eos": False}  # no post-processor
    assert not vocabulary.notes


def test_pairs_that_are_no_merges_are_counted(tmp_path):
    tree = sentencepiece(model={"merges": MERGES[:3]})
    [note] = read_tokenizer(write(tmp_path / "m", tree), len(PIECES)).vocabulary.notes
    assert note.startswith("1 of 3 pieces can be made of pairs that are no merges")


def test_bytes_that_no_fallback_reaches_are_told(tmp_path):
    tree = sentencepiece(model={"byte_fallback": False})
    [note] = read_tokenizer(write(tmp_path / "m", tree), len(PIECES)).vocabulary.notes
    assert note.startswith("tokenizer.json has no byte_fallback")


@pytest.mark.parametrize(
    ("change", "prefix"),
    [
        ({"normalizer": None, "pre_tokenizer": {"type": "Metaspace", "replacement": S,
          "prepend_scheme": "first", "split": False}}, True),
        ({"normalizer": None, "pre_tokenizer": {"type": "Metaspace", "prepend_scheme": "never"}},
         False),
        ({"normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": S}}, False),
    ],
)  # fmt: skip
def test_whether_a_space_is_put_before_the_text(tmp_path, change, prefix):
    found = read_tokenizer(write(tmp_path / "m", sentencepiece(**change)), len(PIECES))
    assert found.vocabulary.flags == {"add_space_prefix": prefix}


def message(number: int, value: bytes | int | float) -> bytes:
    """A field of protobuf, of a small number."""
    if isinstance(value, float):
        return bytes([number << 3 | 5]) + struct.pack("<f", value)
    if isinstance(value, int):
        return bytes([number << 3, value])
    size = len(value)
    return bytes([number << 3 | 2, size & 127 | 128, size >> 7]) + value


def piece_model(path: Path, algorithm: int = 2) -> None:
    """A tokenizer.model of PIECES."""
    kinds = {"<unk>": 2, "<s>": 3, "</s>": 3, **dict.fromkeys(BYTES, 6)}
    pieces = [
        message(1, text.encode()) + message(2, float(-number)) + message(3, kinds.get(text, 1))
        for number, text in enumerate(PIECES)
    ]
    path.write_bytes(
        b"".join(message(1, piece) for piece in pieces)
        + message(2, message(3, algorithm))
        + message(3, message(3, 0))
    )


def test_a_folder_with_a_sentencepiece_model_alone(tmp_path):
    piece_model(write(tmp_path / "m", None) / "tokenizer.model")
    vocabulary = read_tokenizer(tmp_path / "m", len(PIECES)).vocabulary
    assert list(vocabulary.texts) == PIECES
    assert vocabulary.types[:4] == [2, 3, 3, 6]
    assert vocabulary.scores == [float(-number) for number in range(len(PIECES))]
    assert vocabulary.flags == {"add_space_prefix": False}


def test_scores_are_those_of_the_sentencepiece_model_beside_the_same_pieces(tmp_path):
    piece_model(write(tmp_path / "m", sentencepiece()) / "tokenizer.model")
    vocabulary = read_tokenizer(tmp_path / "m", len(PIECES)).vocabulary
    assert vocabulary.scores[-1] == 1.0 - len(PIECES)
    assert vocabulary.flags == {"add_space_prefix": True}  # as tokenizer.json has it


def test_byte_level_pairs_are_written_with_their_merges(tmp_path):
    tree = {
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]},
        "pre_tokenizer": {"type": "ByteLevel", "use_regex": True},
        "added_tokens": [{"id": 3, "content": "<|end|>", "special": True}],
    }
    found = read_tokenizer(write(tmp_path / "m", tree), 5)
    assert (found.vocabulary.model, found.vocabulary.pre) == ("gpt2", "gpt-2")
    assert found.special.merges == ["a b"]
    assert list(found.vocabulary.texts) == ["a", "b", "ab", "<|end|>", "[PAD4]"]
    assert list(found.vocabulary.types) == [1, 1, 1, 3, 5]


def test_words_that_no_merge_makes_are_counted_where_a_runtime_looks_them_up_otherwise(tmp_path):
    model = {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "aa": 3}, "merges": [["a", "b"]]}
    tree = {"model": model, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False}}
    assert not read_tokenizer(write(tmp_path / "m", tree), 4).vocabulary.notes
    tree = {**tree, "model": {**model, "ignore_merges": True}}
    [note] = read_tokenizer(write(tmp_path / "m", tree), 4).vocabulary.notes
    assert note.startswith("1 tokens are made by no merge: ignore_merges is True")


def test_digits_one_by_one_before_bytes_are_those_of_smollm():
    digits = {"type": "Digits", "individual_digits": True}
    bytes_ = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
    assert split_name({"type": "Sequence", "pretokenizers": [digits, bytes_]}) == "smollm"
    digits = {**digits, "individual_digits": False}
    assert split_name({"type": "Sequence", "pretokenizers": [digits, bytes_]}) is None


def test_words_of_a_cased_encoder_stay_cased(tmp_path):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "Play", "##ing"]
    tokenizer = tokenizers.BertWordPieceTokenizer(
        vocab={word: number for number, word in enumerate(words)}, lowercase=False
    )
    tokenizer.save(str(write(tmp_path / "m", None) / "tokenizer.json"))
    vocabulary = read_tokenizer(tmp_path / "m", 6).vocabulary
    assert list(vocabulary.texts)[-2:] == [S + "Play", "ing"]
    assert vocabulary.flags == {"normalizer.lowercase": False, "normalizer.strip_accents": False}


def test_the_files_of_older_tokenizers_are_read_by_transformers(tmp_path):
    folder = write(tmp_path / "m", None)
    (folder / "config.json").write_text('{"model_type": "bert"}')
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "play", "##ing"]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    found = read_tokenizer(folder, 8)
    assert list(found.vocabulary.texts)[-3:] == [S + "play", "ing", "[PAD7]"]
    assert found.special.special_token_ids["bos"] == 2
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "vocab.txt"]


def test_a_folder_without_a_tokenizer_has_no_vocabulary(tmp_path):
    assert read_tokenizer(write(tmp_path / "m", None), 8) is None


def replaced(change: dict[str, object]) -> dict[str, object]:
    return sentencepiece(model={"merges": [], **change})


@pytest.mark.parametrize(
    ("tree", "why"),
    [
        ({"model": {"type": "Unigram"}}, "tokenizer is of type Unigram, which is not written"),
        ({"model": {"type": "WordLevel"}}, "tokenizer is of type WordLevel, which"),
        ({"model": {"type": "BPE"}, "pre_tokenizer": {"type": "Whitespace"}},
         r"is BPE without bytes \(it splits text by: Whitespace\)"),
        ({"model": {"type": "BPE"}, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": "."}}, {"type": "ByteLevel"}]}},
         r"splits text by a rule of its own \(Split, ByteLevel\)"),
        ({"model": {"type": "BPE"}, "pre_tokenizer": {"type": "ByteLevel"},
          "normalizer": {"type": "Lowercase"}}, r"changes text before \(Lowercase\)"),
        ({"model": {"type": "WordPiece", "vocab": {"x": "y"}}}, "json: is no tokenizer as its lib"),
        ({"model": {"type": "WordPiece", "vocab": {"x": 900}}}, "of 901 tokens for an embedding"),
        ({"model": {"type": "WordPiece", "vocab": {}}, "normalizer": {"type": "NFKC"}},
         r"changes text otherwise than BERT \(NFKC\)"),
        ({"model": {"type": "WordPiece"}, "pre_tokenizer": {"type": "Whitespace"}},
         r"splits text otherwise than BERT \(Whitespace\)"),
        (replaced({"vocab": {"a": 0, "<0x00>": 1}}), "with 0 of the 256 byte tokens"),
        (sentencepiece(normalizer={"type": "NFKC"}), r"changes text before \(NFKC\)"),
        (sentencepiece(pre_tokenizer={"type": "Digits"}), r"splits text before \(Digits\)"),
    ],
)  # fmt: skip
def test_a_tokenizer_that_cannot_be_said_is_named(tmp_path, tree, why):
    with pytest.raises(ArgumentError, match=why):
        read_tokenizer(write(tmp_path / "m", tree), 300)


def test_a_tokenizer_is_refused_before_anything_is_written(tmp_path):
    config = transformers.BertConfig(
        vocab_size=30, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
        num_attention_heads=1,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(tmp_path / "net")
    taut.compress(tmp_path / "net", tmp_path / "small")
    (tmp_path / "small" / "tokenizer.json").write_text('{"model": {"type": "Unigram"}}')
    with pytest.raises(ArgumentError, match="is of type Unigram"):
        taut.export(tmp_path / "small", tmp_path / "net.gguf")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net", "small"]


def test_a_sentencepiece_model_of_another_algorithm_is_named(tmp_path):
    piece_model(write(tmp_path / "m", None) / "tokenizer.model", algorithm=1)
    with pytest.raises(ArgumentError, match=r"tokenizer.model: its tokenizer is SentencePiece Uni"):
        read_tokenizer(tmp_path / "m", len(PIECES))
    (tmp_path / "m" / "tokenizer.model").write_bytes(b"\x0a\xff\xff")
    with pytest.raises(ArgumentError, match=r"tokenizer.model: is no tokenizer as its library"):
        read_tokenizer(tmp_path / "m", len(PIECES))
