"""How text is split before pairs are merged, and under which name GGUF knows the rule.

A runtime has these rules built in and is told a name, so that a rule which has none cannot be
written; the regular expression of a `tokenizer.json` says whose it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_WORDS: Final = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"
_REST: Final = " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
_UPPER: Final = "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
_LOWER: Final = "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
_BEFORE: Final = "[^\\r\\n\\p{L}\\p{N}]?"
PATTERNS: Final = {
    f"{_WORDS}|\\p{{N}}{{1,3}}|{_REST}": "llama-bpe",
    f"{_WORDS}|\\p{{N}}|{_REST}": "qwen2",
    f"{_BEFORE}{_UPPER}*{_LOWER}+|{_BEFORE}{_UPPER}+{_LOWER}*|\\p{{N}}| ?[^\\s\\p{{L}}\\p{{N}}]+"
    "[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+": "tekken",
}
WHOLE_WORDS: Final = ("llama-bpe", "tekken")  # looked up before pairs are merged
KNOWN: Final = "as GPT-2, Llama 3, Qwen 2, SmolLM or Mistral Nemo do"


def is_byte_level(rule: object) -> bool:
    """Whether a pre-tokenizer of `tokenizer.json` turns bytes into letters."""
    return any(part.get("type") == "ByteLevel" for part in rules_in(rule))


def split_name(rule: object) -> str | None:
    """GGUF's name of a pre-tokenizer of `tokenizer.json`, None if it has none.

    >>> split_name({"type": "ByteLevel", "add_prefix_space": False, "use_regex": True})
    'gpt-2'
    """
    parts = rules_in(rule)
    if not parts or parts[-1].get("type") != "ByteLevel" or parts[-1].get("add_prefix_space"):
        return None
    words = bool(parts[-1].get("use_regex", True))  # GPT-2's rule, after those before
    if len(parts) == 1:
        return "gpt-2" if words else None
    return _name_before(parts[0], words) if len(parts) == 2 else None


def _name_before(first: Mapping[str, object], words: bool) -> str | None:
    """GGUF's name of a rule before bytes, with GPT-2's rule for `words` after it or without."""
    kind, pattern = first.get("type"), first.get("pattern")
    if kind == "Digits" and first.get("individual_digits") and words:
        return "smollm"
    if kind != "Split" or not isinstance(pattern, Mapping) or words:
        return None
    return PATTERNS.get(str(pattern.get("Regex")))


def rule_words(rule: object) -> str:
    """A pre-tokenizer or normalizer by its types, as `tokenizer.json` has them.

    >>> rule_words({"type": "Sequence", "pretokenizers": [{"type": "Digits"}, {"type": "Split"}]})
    'Digits, Split'
    """
    return ", ".join(str(part.get("type")) for part in rules_in(rule)) or "none"


def rules_in(rule: object) -> list[Mapping[str, object]]:
    """The rules in a row that one is made of."""
    if not isinstance(rule, Mapping):
        return []
    if rule.get("type") != "Sequence":
        return [rule]
    inner = rule.get("pretokenizers", rule.get("normalizers"))
    return [part for one in inner for part in rules_in(one)] if isinstance(inner, list) else []
