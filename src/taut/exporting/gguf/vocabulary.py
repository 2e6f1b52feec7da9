"""A folder's tokenizer as GGUF's metadata, read before anything is written.

`tokenizer.json` rules; a folder without one may have SentencePiece's `tokenizer.model`, or the
older files that transformers turns into one.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from taut.container.schema import get_object, load_json
from taut.errors import ArgumentError
from taut.exporting.gguf.piece_model import read_piece_model
from taut.exporting.gguf.pieces import (
    NORMAL,
    GgufVocabulary,
    UnwrittenTokenizerError,
    pieces_of,
    rows,
)
from taut.exporting.gguf.sentencepiece import SPACE, from_model, from_tree
from taut.exporting.gguf.splits import (
    KNOWN,
    WHOLE_WORDS,
    is_byte_level,
    rule_words,
    rules_in,
    split_name,
)
from taut.exporting.transformers_network import can_load, quiet

if TYPE_CHECKING:
    from gguf import GGUFWriter, SpecialVocab

_OLDER: Final = ("vocab.txt", "vocab.json")
_WRITTEN: Final = (
    f"byte-level BPE that splits text {KNOWN}; SentencePiece's BPE with byte_fallback; WordPiece"
)


@dataclass(frozen=True)
class GgufTokenizer:
    """The vocabulary of a folder, and its tokens with a meaning of their own."""

    vocabulary: GgufVocabulary
    special: SpecialVocab

    def add_to(self, writer: GGUFWriter) -> None:
        """Write all of it."""
        self.vocabulary.add_to(writer, self.special)


def read_tokenizer(folder: Path, size: int) -> GgufTokenizer | None:
    """The tokenizer of a folder, None where it has none.

    `size` is the number of rows of the embedding; those without a token are told as unused.

    Raises:
        ArgumentError: the tokenizer is none that GGUF can say, or is damaged; names its type.
    """
    with _with_tokenizer(folder) as (path, given):
        if path is None:
            return None
        try:
            found = _read(path, size)
            return GgufTokenizer(found, _special(path.parent, found, size))
        except UnwrittenTokenizerError as error:
            raise ArgumentError(
                f"{given}: its tokenizer is {error}, which is not written as GGUF here; those that "
                f"are: {_WRITTEN}. In a folder without its tokenizer's files the network is "
                "written without a vocabulary"
            ) from None
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ArgumentError(
                f"{given}: is no tokenizer as its library writes it "
                f"({type(error).__name__}: {error})"
            ) from None


@contextmanager
def _with_tokenizer(folder: Path) -> Iterator[tuple[Path | None, Path]]:
    """The file that the tokenizer is read from, and the one of the folder that it is."""
    for name in ("tokenizer.json", "tokenizer.model"):
        if (folder / name).is_file():
            yield folder / name, folder / name
            return
    older = next((folder / name for name in _OLDER if (folder / name).is_file()), None)
    if older is None or not can_load():
        yield None, folder
        return
    with TemporaryDirectory() as made:
        _converted(folder, older, Path(made))
        yield Path(made) / "tokenizer.json", older


def _converted(folder: Path, older: Path, made: Path) -> None:
    """Have transformers write `tokenizer.json` for the files that were there before it."""
    import transformers

    try:
        with quiet():
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                str(folder), local_files_only=True, trust_remote_code=False
            )
            tokenizer.save_pretrained(made)
    except Exception as error:  # transformers names no set of errors
        raise ArgumentError(f"{older}: transformers cannot read the tokenizer ({error})") from error
    if not (made / "tokenizer.json").is_file():
        raise ArgumentError(
            f"{older}: its tokenizer, {type(tokenizer).__name__}, has no form as tokenizer.json, "
            "which GGUF's vocabulary is made of"
        )
    shutil.copy(folder / "config.json", made)


def _read(path: Path, size: int) -> GgufVocabulary:
    if path.suffix == ".model":
        return from_model(path, size)
    tree = get_object(load_json(path.read_bytes(), str(path)), str(path))
    return _from_tree(tree, path.with_name("tokenizer.model"), size)


def _from_tree(tree: Mapping[str, Any], original: Path, size: int) -> GgufVocabulary:
    model = tree["model"]
    kind = model.get("type")
    if kind == "WordPiece":
        return _wordpiece(tree, size)
    if kind != "BPE":
        raise UnwrittenTokenizerError(f"of type {kind}")
    if is_byte_level(tree.get("pre_tokenizer")):
        return _byte_level(tree, size)
    if not model.get("byte_fallback") and "<0x00>" not in model.get("vocab", {}):
        rule = rule_words(tree.get("pre_tokenizer"))
        raise UnwrittenTokenizerError(f"BPE without bytes (it splits text by: {rule})")
    return from_tree(tree, size, read_piece_model(original) if original.is_file() else None)


def _byte_level(tree: Mapping[str, Any], size: int) -> GgufVocabulary:
    """Pairs of letters that stand for bytes, joined in the order of their list."""
    rule, changed = tree.get("pre_tokenizer"), rules_in(tree.get("normalizer"))
    if any(one.get("type") != "NFC" for one in changed):
        words = rule_words(tree.get("normalizer"))
        raise UnwrittenTokenizerError(f"byte-level BPE that changes text before ({words})")
    name = split_name(rule)
    if name is None:
        raise UnwrittenTokenizerError(
            f"byte-level BPE that splits text by a rule of its own ({rule_words(rule)})"
        )
    made = rows(pieces_of(tree["model"]["vocab"], tree.get("added_tokens") or []), size)
    return GgufVocabulary(
        model="gpt2",
        pre=name,
        texts=[one.text for one in made],
        types=[one.type for one in made],
        notes=_whole_words(tree["model"], name),
    )


def _whole_words(model: Mapping[str, Any], name: str) -> list[str]:
    """A note where a runtime looks whole words up before it merges, and the tokenizer does not."""
    if bool(model.get("ignore_merges")) == (name in WHOLE_WORDS):
        return []
    merged = {"".join(one if isinstance(one, list) else one.split(" ")) for one in model["merges"]}
    alone = sum(len(text) > 1 and text not in merged for text in model["vocab"])
    if not alone:
        return []
    return [
        f"{alone} tokens are made by no merge: ignore_merges is "
        f"{bool(model.get('ignore_merges'))} in tokenizer.json, and the opposite in llama.cpp's "
        f"{name}, which splits texts with them otherwise"
    ]


def _wordpiece(tree: Mapping[str, Any], size: int) -> GgufVocabulary:
    """Whole words and their ends; where a word begins is marked there, not where it goes on."""
    model = tree["model"]
    if model.get("continuing_subword_prefix", "##") != "##":
        raise UnwrittenTokenizerError("WordPiece whose words do not go on with ##")
    split = rules_in(tree.get("pre_tokenizer"))
    if any(rule.get("type") != "BertPreTokenizer" for rule in split):
        words = rule_words(tree.get("pre_tokenizer"))
        raise UnwrittenTokenizerError(f"WordPiece that splits text otherwise than BERT ({words})")
    made = rows(pieces_of(model["vocab"], tree.get("added_tokens") or []), size)
    texts = [_word(one.text) if one.type == NORMAL else one.text for one in made]
    return GgufVocabulary(
        model="bert",
        pre="default",
        texts=texts,
        types=[one.type for one in made],
        flags=_letters(tree.get("normalizer")),
    )


def _letters(normalizer: object) -> dict[str, bool]:
    """What becomes of capitals and accents."""
    lowercase = accents = False
    for rule in rules_in(normalizer):
        if rule.get("type") != "BertNormalizer" or not rule.get("handle_chinese_chars", True):
            words = rule_words(normalizer)
            raise UnwrittenTokenizerError(
                f"WordPiece that changes text otherwise than BERT ({words})"
            )
        lowercase, strip = bool(rule.get("lowercase", True)), rule.get("strip_accents")
        accents = lowercase if strip is None else bool(strip)
    return {"normalizer.lowercase": lowercase, "normalizer.strip_accents": accents}


def _word(text: str) -> str:
    return text[2:] if text.startswith("##") else f"{SPACE}{text}"


def _special(folder: Path, vocabulary: GgufVocabulary, size: int) -> SpecialVocab:
    """The tokens that the folder gives a meaning, and whether texts begin or end with them."""
    from gguf import SpecialVocab

    found = SpecialVocab(folder, load_merges=vocabulary.model == "gpt2", n_vocab=size)
    ids = found.special_token_ids
    if "bos" not in ids and "cls" in ids:  # what a text begins with has one name there
        ids["bos"] = ids["cls"]
    if vocabulary.model != "bert" and (folder / "tokenizer.json").is_file():
        for end in ("bos", "eos"):  # what is not said, a runtime takes from its own rules
            found.add_special_token.setdefault(end, False)
    return found
