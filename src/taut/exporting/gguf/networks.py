"""The networks that are written as GGUF: what their config says there, and how their tensors lie.

Surprises: a llama's q and k are stored with the two halves of each head's rows interleaved, as its
rotary embedding takes neighbours there; GPT-2's matrices are stored transposed, outputs first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

import numpy as np

from taut.container.schema import load_json
from taut.errors import ArgumentError, FormatError

Value: TypeAlias = "int | float | bool"
Order: TypeAlias = Literal["", "heads", "transposed"]
Config: TypeAlias = Mapping[str, object]


@dataclass(frozen=True)
class GgufNetwork:
    """`arch` is GGUF's name; `keys` gives the metadata below it, of a folder's config."""

    arch: str
    layers: str
    keys: Callable[[Config], dict[str, Value]]
    order: Callable[[str], Order]
    unused: tuple[str, ...] = ()  # ends of names that a runtime makes anew


def network_named(config: Config, where: str) -> GgufNetwork:
    """The network that a config names.

    Raises:
        ArgumentError: it is none of those that are written; the message lists them.
    """
    named = config.get("architectures")
    first = named[0] if isinstance(named, list) and named else None
    if first not in NETWORKS:
        raise ArgumentError(
            f"{where}: architectures names {first!r}, which is not written as GGUF here; those "
            f"that are: {', '.join(sorted(NETWORKS))}"
        )
    return NETWORKS[str(first)]


def arranged(values: np.ndarray, order: Order, heads: int) -> np.ndarray:
    """A tensor as GGUF has it; `heads` are those of its rows.

    >>> arranged(np.arange(8), "heads", 2).tolist()
    [0, 2, 1, 3, 4, 6, 5, 7]
    """
    if order == "heads":
        halves = values.reshape(heads, 2, -1, *values.shape[1:])
        return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(values.shape)
    return np.ascontiguousarray(values.T) if order == "transposed" else values


def lying(shape: tuple[int, ...], order: Order) -> tuple[int, ...]:
    """The shape of a tensor as GGUF has it, outputs first."""
    return shape[::-1] if order == "transposed" else shape


def restored(values: np.ndarray, order: Order, heads: int) -> np.ndarray:
    """Undo `arranged`."""
    if order == "heads":
        pairs = values.reshape(heads, -1, 2, *values.shape[1:])
        return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(values.shape)
    return np.ascontiguousarray(values.T) if order == "transposed" else values


def heads_of(name: str, config: Config) -> int:
    """The attention heads that a tensor's rows belong to."""
    heads = number(config, "num_attention_heads")
    return number(config, "num_key_value_heads", heads) if ".k_proj." in name else heads


def number(config: Config, key: str, default: int | None = None) -> int:
    """A whole number of a config.

    Raises:
        ArgumentError: it is not there, and there is no default.
    """
    value = config.get(key)
    if value is None and default is not None:
        return default
    if type(value) is not int:
        raise ArgumentError(f"config.json: {key} is {value!r}; GGUF needs a whole number there")
    return value


def _real(config: Config, key: str, default: float) -> float:
    value = config.get(key)
    return float(value) if isinstance(value, int | float) else default


def _expect(config: Config, key: str, *known: object) -> None:
    """Refuse what a runtime, which has the rest of the network built in, would not do."""
    value = config.get(key, known[0])
    if value not in known:
        raise ArgumentError(
            f"config.json: {key} is {value!r}, for which GGUF has no word; runtimes take it for "
            f"{known[0]!r}"
        )


def _context(config: Config) -> int:
    """The longest text: that of the window, where a runtime knows of none."""
    length = number(config, "max_position_embeddings")
    window = config.get("sliding_window")
    slides = type(window) is int and config.get("use_sliding_window", True)
    return min(length, number(config, "sliding_window")) if slides else length


def _llama(config: Config) -> dict[str, Value]:
    _expect(config, "hidden_act", "silu", "swish")
    heads, width = number(config, "num_attention_heads"), number(config, "hidden_size")
    head = number(config, "head_dim", width // heads)
    return {
        "vocab_size": number(config, "vocab_size"),
        "context_length": _context(config),
        "embedding_length": width,
        "block_count": number(config, "num_hidden_layers"),
        "feed_forward_length": number(config, "intermediate_size"),
        "attention.head_count": heads,
        "attention.head_count_kv": number(config, "num_key_value_heads", heads),
        "attention.key_length": head,
        "attention.value_length": head,
        "attention.layer_norm_rms_epsilon": _real(config, "rms_norm_eps", 1e-6),
        "rope.dimension_count": head,
        "rope.freq_base": _rope(config),
    }


def _rope(config: Config) -> float:
    """The base of the rotary embedding; one that is scaled is not written."""
    found = config.get("rope_parameters") or config.get("rope_scaling") or {}
    rope: Config = found if isinstance(found, dict) else {"rope_type": found}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind != "default":
        raise ArgumentError(
            f"config.json: rotary embedding of type {kind!r} is not written as GGUF here; only "
            "the default is"
        )
    return _real({**config, **rope}, "rope_theta", 10_000.0)


def _gpt2(config: Config) -> dict[str, Value]:
    _expect(config, "activation_function", "gelu_new", "gelu_pytorch_tanh", "gelu_fast", "gelu")
    _expect(config, "scale_attn_weights", True)
    _expect(config, "scale_attn_by_inverse_layer_idx", False)
    width = number(config, "n_embd")
    return {
        "vocab_size": number(config, "vocab_size"),
        "context_length": number(config, "n_positions"),
        "embedding_length": width,
        "block_count": number(config, "n_layer"),
        "feed_forward_length": number(config, "n_inner", 4 * width),
        "attention.head_count": number(config, "n_head"),
        "attention.layer_norm_epsilon": _real(config, "layer_norm_epsilon", 1e-5),
    }


def _bert(config: Config) -> dict[str, Value]:
    _expect(config, "hidden_act", "gelu", "gelu_new", "gelu_pytorch_tanh")
    _expect(config, "position_embedding_type", "absolute")
    _expect(config, "is_decoder", False)
    return {
        "vocab_size": number(config, "vocab_size"),
        "context_length": number(config, "max_position_embeddings"),
        "embedding_length": number(config, "hidden_size"),
        "block_count": number(config, "num_hidden_layers"),
        "feed_forward_length": number(config, "intermediate_size"),
        "attention.head_count": number(config, "num_attention_heads"),
        "attention.layer_norm_epsilon": _real(config, "layer_norm_eps", 1e-12),
        "attention.causal": False,
    }


def pooling(folder: Path) -> int | None:
    """How a sentence encoder's tokens become one vector, as GGUF counts it; None if unknown."""
    try:
        found = load_json((folder / "1_Pooling" / "config.json").read_bytes(), "pooling")
    except (OSError, FormatError):
        return None
    modes = found if isinstance(found, dict) else {}
    for mode, code in (("pooling_mode_mean_tokens", 1), ("pooling_mode_cls_token", 2)):
        if modes.get(mode) is True:
            return code
    return {"mean": 1, "cls": 2}.get(str(modes.get("pooling_mode")))


def _llama_order(name: str) -> Order:
    return "heads" if ".q_proj." in name or ".k_proj." in name else ""


def _gpt2_order(name: str) -> Order:
    ends = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
    return "transposed" if name.endswith(ends) else ""


def _as_it_is(name: str) -> Order:
    return ""


_LLAMA: Final = GgufNetwork("llama", "num_hidden_layers", _llama, _llama_order, (".inv_freq",))
_QWEN: Final = GgufNetwork("qwen2", "num_hidden_layers", _llama, _as_it_is, (".inv_freq",))
_GPT2: Final = GgufNetwork(
    "gpt2", "n_layer", _gpt2, _gpt2_order, (".attn.bias", ".attn.masked_bias")
)
_BERT: Final = GgufNetwork(
    "bert",
    "num_hidden_layers",
    _bert,
    _as_it_is,
    ("position_ids", "pooler.dense.weight", "pooler.dense.bias"),
)
NETWORKS: Final[Mapping[str, GgufNetwork]] = {
    "LlamaForCausalLM": _LLAMA,
    "MistralForCausalLM": _LLAMA,
    "Qwen2ForCausalLM": _QWEN,
    "GPT2LMHeadModel": _GPT2,
    "BertModel": _BERT,
}
