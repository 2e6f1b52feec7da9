"""A tokenizer as GGUF's metadata, for the kinds that can be told from `tokenizer.json` alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from taut.container.schema import get_object, load_json

if TYPE_CHECKING:
    from gguf import GGUFWriter

# How text is split before pairs are merged: the regular expression says whose rule it is.
_SPLITS: Final = {
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+"
    "[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+": "llama-bpe",
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+"
    "[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+": "qwen2",
}


def add_tokens(writer: GGUFWriter, folder: Path, size: int) -> str | None:
    """Write the vocabulary of a folder; gives why it could not be, if it could not.

    `size` is that of the embedding; ids without a token are told as unused.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        return "the folder has no tokenizer.json"
    try:
        return _read(writer, folder, path, size)
    except (AttributeError, KeyError, TypeError, ValueError, UnicodeError) as error:
        return f"its tokenizer.json is not as tokenizers writes it ({type(error).__name__})"


def _read(writer: GGUFWriter, folder: Path, path: Path, size: int) -> str | None:
    tree = get_object(load_json(path.read_bytes(), str(path)), str(path))
    model = tree.get("model")
    kind = model.get("type") if isinstance(model, dict) else None
    if not isinstance(model, dict) or kind not in ("BPE", "WordPiece"):
        return f"its tokenizer is of type {kind}, and only byte-level BPE and WordPiece are written"
    split = "default" if kind == "WordPiece" else _split(tree.get("pre_tokenizer"))
    if split is None:
        return "it splits text by a rule that GGUF has no name for, or is no byte-level BPE"
    vocab, added = model.get("vocab"), tree.get("added_tokens") or []
    if not isinstance(vocab, dict) or not isinstance(added, list):
        return "its tokenizer.json has no vocabulary"
    tokens = _tokens(vocab, added)
    if (most := max(tokens, default=-1)) >= size:
        return f"it has {most + 1} tokens, and the embedding {size} rows"
    _add(writer, folder, _Vocabulary(tokens, size, split, wordpiece=kind == "WordPiece"))
    return None


def _split(rule: object) -> str | None:
    """GGUF's name of a pre-tokenizer, None if it has none."""
    if not isinstance(rule, Mapping):
        return None
    if rule.get("type") == "ByteLevel":
        return "gpt-2" if rule.get("use_regex", True) else None
    parts = rule.get("pretokenizers")
    if rule.get("type") != "Sequence" or not isinstance(parts, list) or len(parts) != 2:
        return None
    first, second = parts
    pattern = first.get("pattern", {}).get("Regex") if first.get("type") == "Split" else None
    return _SPLITS.get(str(pattern)) if second.get("type") == "ByteLevel" else None


@dataclass(frozen=True)
class _Token:
    """A text, and whether the tokenizer gives it a meaning of its own."""

    text: str
    added: bool = False
    special: bool = False


@dataclass(frozen=True)
class _Vocabulary:
    """Tokens by number, below `size`; `split` is GGUF's name of how text is split before."""

    tokens: Mapping[int, _Token]
    size: int
    split: str
    wordpiece: bool

    def text(self, number: int) -> str:
        """A token as GGUF has it; where a word begins is marked there, not where it goes on."""
        token = self.tokens.get(number)
        if token is None:
            return f"[PAD{number}]"
        return _word(token.text) if self.wordpiece and not token.added else token.text

    def type(self, number: int) -> int:
        """What GGUF calls such a token."""
        from gguf import TokenType

        token = self.tokens.get(number)
        if token is None:
            return TokenType.UNUSED
        if token.added:
            return TokenType.CONTROL if token.special else TokenType.USER_DEFINED
        return TokenType.NORMAL


def _tokens(vocab: Mapping[str, int], added: Iterable[Mapping[str, Any]]) -> dict[int, _Token]:
    """All tokens by number; those that were added take the place of others."""
    found = {int(number): _Token(str(text)) for text, number in vocab.items()}
    for token in added:
        special = bool(token.get("special"))
        found[int(token["id"])] = _Token(str(token["content"]), added=True, special=special)
    return found


def _add(writer: GGUFWriter, folder: Path, vocabulary: _Vocabulary) -> None:
    """Write a vocabulary, and the special tokens and merges that the folder has."""
    from gguf import SpecialVocab

    size, merges = vocabulary.size, not vocabulary.wordpiece
    special = SpecialVocab(folder, load_merges=merges, n_vocab=size)  # all is read by now
    writer.add_tokenizer_model("bert" if vocabulary.wordpiece else "gpt2")
    writer.add_tokenizer_pre(vocabulary.split)
    writer.add_token_list([vocabulary.text(number) for number in range(size)])
    writer.add_token_types([vocabulary.type(number) for number in range(size)])
    ids = special.special_token_ids
    if "bos" not in ids and "cls" in ids:  # what a text begins with has one name there
        ids["bos"] = ids["cls"]
    special.add_to_gguf(writer, quiet=True)


def _word(text: str) -> str:
    return text[2:] if text.startswith("##") else f"\u2581{text}"
