"""Mixtures of experts as transformers stores them have a metric for each, however it runs them."""

from __future__ import annotations

import numpy as np
import pytest

from taut.analysis import Curvature, collect
from taut.analysis.submatrices import unreached

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", "5")

SHAPE = {
    "vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 2, "max_position_embeddings": 32, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
KINDS = {
    "qwen3_moe": {"moe_intermediate_size": 8, "num_experts": 4, "num_experts_per_tok": 2},
    "mixtral": {"intermediate_size": 8, "num_local_experts": 4, "num_experts_per_tok": 2},
    "gpt_oss": {"intermediate_size": 8, "num_local_experts": 4, "num_experts_per_tok": 2},
    "llama4_text": {"intermediate_size": 8, "num_local_experts": 4, "moe_layers": [0]},
    "deepseek_v3": {
        "moe_intermediate_size": 8, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1,
        "topk_group": 1, "first_k_dense_replace": 0, "q_lora_rank": 8, "kv_lora_rank": 8,
        "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8,
    },
}  # fmt: skip
TURNED = ("gpt_oss", "llama4_text")  # stored as (experts, inputs, outputs)
ONE_WAY = ("llama4_text",)


def curvature(kind: str, way: str) -> dict[str, Curvature]:
    known = {"head_dim": 8} if kind != "deepseek_v3" else {}
    config = transformers.AutoConfig.for_model(kind, **SHAPE, **known, **KINDS[kind])
    torch.manual_seed(0)
    how = {} if kind in ONE_WAY else {"experts_implementation": way}
    model = transformers.AutoModelForCausalLM.from_config(config, **how)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    found = collect(model, lambda: [{"input_ids": torch.arange(3, 43).reshape(4, 10)}])
    assert not any("gradient" in one.kind for one in found.values())
    return {name.rpartition(".")[2]: one for name, one in found.items() if ".experts." in name}


@pytest.mark.parametrize("kind", KINDS)
def test_every_expert_has_a_metric_and_each_way_gives_the_same(kind: str) -> None:
    known = curvature(kind, "eager")
    shapes = {"gate_up_proj": (16, 16), "down_proj": (16, 8)}
    for name, shape in shapes.items():
        for one in known[name].parts:
            sides = (len(one.rows), len(one.columns))
            assert sides == (shape[::-1] if kind in TURNED else shape)
        assert len(known[name].parts) == 4 and len(unreached(known[name].parts)) < 3
    for way in () if kind in ONE_WAY else ("batched_mm", "grouped_mm"):
        found = curvature(kind, way)
        for name in shapes:
            for one, other in zip(found[name].parts, known[name].parts, strict=True):
                assert one.positions == other.positions
                for side in ("rows", "columns"):
                    a, b = getattr(one, side), getattr(other, side)
                    np.testing.assert_allclose(a, b, atol=1e-3 * np.abs(b).max())
