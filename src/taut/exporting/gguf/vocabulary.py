"""A tokenizer as GGUF's metadata, for the kinds that can be told from `tokenizer.json` alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

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
    if kind == "WordPiece":
        return _add(writer, folder, tree, model, size, "bert", "default", wordpiece=True)
    split = _split(tree.get("pre_tokenizer"))
    if split is None:
        return "it splits text by a rule that GGUF has no name for, or is no byte-level BPE"
    return _add(writer, folder, tree, model, size, "gpt2", split, wordpiece=False)


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


def _add(
    writer: GGUFWriter,
    folder: Path,
    tree: Mapping[str, object],
    model: Mapping[str, object],
    size: int,
    kind: str,
    split: str,
    *,
    wordpiece: bool,
) -> str | None:
    from gguf import SpecialVocab, TokenType

    vocab, added = model.get("vocab"), tree.get("added_tokens") or []
    if not isinstance(vocab, dict) or not isinstance(added, list):
        return "its tokenizer.json has no vocabulary"
    names = {int(number): str(text) for text, number in vocab.items()}
    types = dict.fromkeys(names, TokenType.NORMAL)
    for token in added:
        number = int(token["id"])
        names[number] = str(token["content"])
        types[number] = TokenType.CONTROL if token.get("special") else TokenType.USER_DEFINED
    if max(names, default=-1) >= size:
        return f"it has {max(names) + 1} tokens, and the embedding {size} rows"
    tokens = [names.get(number, f"[PAD{number}]") for number in range(size)]
    if wordpiece:  # where a word begins is marked there, and not where it goes on
        tokens = [
            _word(text) if types.get(number) == TokenType.NORMAL else text
            for number, text in enumerate(tokens)
        ]
    special = SpecialVocab(folder, load_merges=not wordpiece, n_vocab=size)  # all is read by now
    writer.add_tokenizer_model(kind)
    writer.add_tokenizer_pre(split)
    writer.add_token_list(tokens)
    writer.add_token_types([types.get(number, TokenType.UNUSED) for number in range(size)])
    ids = special.special_token_ids
    if "bos" not in ids and "cls" in ids:  # what a text begins with has one name there
        ids["bos"] = ids["cls"]
    special.add_to_gguf(writer, quiet=True)
    return None


def _word(text: str) -> str:
    return text[2:] if text.startswith("##") else f"\u2581{text}"
