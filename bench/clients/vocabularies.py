"""Tiny networks with a tokenizer of each kind that GGUF can say, to hold a runtime's tokens.

Combining marks are left out: llama.cpp's own rule of tekken has no word for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM

from bench.clients.models import SPACE, TEXTS, ClientModel
from taut.exporting.gguf.splits import PATTERNS

_MORE = (
    "It's 2024-11-28; I'LL pay 1234567 dollars!!  we've  HTTPServer fooBar ABC\r\n\r\n\tx",
    "\u00dcn\u00efc\u00f6d\u00e9 Stra\u00dfe \u00c0\u00c9 \u65e5\u672c\u8a9e \u00a0nbsp",
)
_ASKED = (*TEXTS[:2], *_MORE)
_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def vocabularies(folder: Path) -> Iterator[ClientModel]:
    """A model for each kind; their weights are random."""
    folder.mkdir()
    for name, rule in _splits().items():
        yield _saved(_byte_level(rule), folder, name, encoder=False)
    yield _saved(_pieces(), folder, "Metaspace", encoder=False)
    yield _saved(_words(), folder, "cased WordPiece", encoder=True)


def _saved(tokenizer: Tokenizer, folder: Path, name: str, *, encoder: bool) -> ClientModel:
    home = folder / name.replace(" ", "-")
    sizes = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1}
    sizes |= {"num_attention_heads": 1, "vocab_size": tokenizer.get_vocab_size()}
    net = BertModel(BertConfig(**sizes)) if encoder else LlamaForCausalLM(LlamaConfig(**sizes))
    net.save_pretrained(home)
    tokenizer.save(str(home / "tokenizer.json"))
    (home / "tokenizer_config.json").write_text(
        '{"cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}' if encoder else "{}"
    )
    return ClientModel(name, home, embeds=encoder, texts=_ASKED)


def _splits() -> dict[str, pre_tokenizers.PreTokenizer]:
    """Rules of splitting by GGUF's name."""
    plain = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    words = pre_tokenizers.ByteLevel(add_prefix_space=False)
    found = {
        name: pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), plain])
        for pattern, name in PATTERNS.items()
    }
    digits = pre_tokenizers.Digits(individual_digits=True)
    return {**found, "smollm": pre_tokenizers.Sequence([digits, words]), "gpt-2": words}


def _byte_level(rule: pre_tokenizers.PreTokenizer) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = rule
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(_ASKED * 2, trainer)
    return tokenizer


def _pieces() -> Tokenizer:
    """Pieces of text and bytes, with a merge for every way to make one."""
    letters = [*"abcdehilmnoprstuy", SPACE]
    made = ["th", "he", "the", f"{SPACE}t", f"{SPACE}th", f"{SPACE}the", "an", f"{SPACE}a", "in"]
    pieces = ["<unk>", "<s>", "</s>", *_BYTES, *letters, *made]
    normal = {*letters, *made}
    merges = [
        (text[:cut], text[cut:])
        for text in made
        for cut in range(1, len(text))
        if text[:cut] in normal and text[cut:] in normal
    ]
    vocab = {text: number for number, text in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.add_special_tokens(["<s>", "</s>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    return tokenizer


def _words() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(_ASKED * 2, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer
