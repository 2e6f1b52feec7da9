"""A language model as a subject: its weights, its blocks, and what rounding does to it."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from bench.subjects import language_models  # noqa: E402
from bench.subjects.language_models import LanguageModel, Package  # noqa: E402

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

    monkeypatch.setattr(Package, "opened", lambda package: (network, None))
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


def test_windows_begin_as_the_tokenizer_begins_texts(monkeypatch, tmp_path):
    class Tokenizer:
        def __call__(self, text: str, verbose: bool = True) -> dict[str, list[int]]:
            return {"input_ids": [1, *map(ord, text)]}

    (tmp_path / "test.txt").write_text("abcdefgh" * 400)
    monkeypatch.setattr(language_models, "asset", lambda path: tmp_path / path.rpartition("/")[2])
    batches = language_models._windows(Tokenizer(), "test", 3)
    assert {tuple(one["input_ids"].shape) for one in batches} == {(1, 512)}
    assert all(one["input_ids"][0, 0] == 1 for one in batches)
    assert all((one["input_ids"][0, 1:] >= ord("a")).all() for one in batches)
