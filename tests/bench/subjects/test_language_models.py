"""A language model as a subject: its weights, its blocks, and what rounding does to it."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from bench.subjects import language_models  # noqa: E402
from bench.subjects.language_models import LanguageModel  # noqa: E402

TINY = {
    "vocab_size": 32, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 1, "tie_word_embeddings": True,
}  # fmt: skip


@pytest.fixture
def subject(monkeypatch) -> LanguageModel:
    """A small Llama of random weights and texts of random tokens in the places of real ones."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(**TINY)
    network = transformers.LlamaForCausalLM(config).eval().requires_grad_(requires_grad=True)

    def windows(tokenizer: object, split: str, count: int) -> list[dict[str, torch.Tensor]]:
        rows = torch.randint(0, 32, (count, 1, 24))
        return [{"input_ids": row, "attention_mask": torch.ones_like(row)} for row in rows]

    monkeypatch.setattr(language_models, "_opened", lambda package: (network, None))
    monkeypatch.setattr(language_models, "_windows", windows)
    return LanguageModel("smollm2", thin=4)


def test_rounding_harms_and_the_original_does_not(subject):
    assert subject.fidelity(subject.weights)["loss"] == 0
    coarse = {name: np.round(values * 10) / 10 for name, values in subject.weights.items()}
    assert subject.fidelity(coarse)["loss"] > 1e-4
    assert subject.fidelity(subject.weights)["loss"] == 0  # what was filled in is gone again


def test_a_tied_table_is_one_weight_and_each_layer_is_a_block(subject):
    assert "lm_head.weight" not in subject.weights
    assert [len(block) for block in subject.blocks()] == [7, 7]
