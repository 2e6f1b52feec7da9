"""A chain of blocks has the same curvature whether it is streamed, block by block, or whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import taut.analysis.curvature as collecting
from taut.analysis import Curvature, collect

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", "5")

from taut.networks import chain_cutting  # noqa: E402
from taut.networks.find_chain import find_chain  # noqa: E402

SHAPE = {
    "vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2,
    "num_key_value_heads": 2, "head_dim": 8, "intermediate_size": 24, "pad_token_id": 0,
    "max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
LM = "AutoModelForCausalLM"
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": (LM, {"tie_word_embeddings": True}),
    "gemma3_text": (LM, {"sliding_window": 4, "layer_types": [
        "sliding_attention", "full_attention", "sliding_attention"]}),
    "mixtral": (LM, {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "gpt2": (LM, {}),
    "bert": ("AutoModelForMaskedLM", {}),
    "t5": ("AutoModelForSeq2SeqLM", {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 3,
        "num_heads": 2, "decoder_start_token_id": 0}),
    "bart": ("AutoModelForSeq2SeqLM", {
        "d_model": 16, "encoder_layers": 2, "decoder_layers": 3, "encoder_attention_heads": 2,
        "decoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24}),
    "vit": ("AutoModelForImageClassification", {"image_size": 32, "patch_size": 8}),
}  # fmt: skip


def network_of(kind: str) -> torch.nn.Module:
    auto, more = KINDS[kind]
    shape = SHAPE if kind != "gpt2" else {"vocab_size": 50, "n_embd": 16, "n_layer": 3, "n_head": 2}
    config = transformers.AutoConfig.for_model(kind, **{**shape, **more})
    torch.manual_seed(0)
    network = getattr(transformers, auto).from_config(config)
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return network


def batches_for(kind: str, count: int = 3) -> list[dict[str, torch.Tensor]]:
    made = []
    for number in range(count):
        torch.manual_seed(number)
        if kind == "vit":
            made.append({"pixel_values": torch.randn(2 + number, 3, 32, 32)})
            continue
        ids = torch.randint(3, 50, (2 + number, 10))
        mask = torch.ones_like(ids)
        mask[1, 7:] = 0
        more = {"decoder_input_ids": ids[:, :6]} if kind in ("t5", "bart") else {}
        made.append({"input_ids": ids, "attention_mask": mask, **more})
    return made


def without_chain(
    monkeypatch: pytest.MonkeyPatch, *args: Any, **known: Any
) -> dict[str, Curvature]:
    with monkeypatch.context() as patch:
        patch.setattr(collecting, "find_chain", lambda *_: None)
        return collect(*args, **known)


def same(found: dict[str, Curvature], known: dict[str, Curvature], close: float = 2e-4) -> None:
    assert found.keys() == known.keys()
    for name, one in known.items():
        other = found[name]
        for what in ("kind", "bias", "positions", "samples", "stage", "notes", "swapped"):
            assert getattr(other, what) == getattr(one, what), (name, what)
        if one.mean_input is not None:
            most = np.abs(one.mean_input).max()
            np.testing.assert_allclose(other.mean_input, one.mean_input, atol=close * most, rtol=0)
        for a, b in zip(other.apart(), one.apart(), strict=True):
            for side in ("rows", "columns"):
                value, wanted = getattr(a, side), getattr(b, side)
                np.testing.assert_allclose(
                    value, wanted, atol=close * np.abs(wanted).max(), rtol=0, err_msg=name
                )


@pytest.mark.parametrize("kind", KINDS)
def test_streamed_is_whole(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network, batches = network_of(kind), batches_for(kind)
    assert find_chain(network.eval(), batches[0]) is not None
    with monkeypatch.context() as patch:
        patch.setattr(collecting, "sum_whole", lambda *_: pytest.fail("it ran whole"))
        found = collect(network, lambda: batches)
    same(found, without_chain(monkeypatch, network, lambda: batches))


def test_what_files_hold_is_rounded_and_no_more(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    network, batches = network_of("llama"), batches_for("llama")
    found = collect(network, lambda: batches, memory=0, scratch=tmp_path)
    assert [*tmp_path.iterdir()] == []
    known = without_chain(monkeypatch, network, lambda: batches)
    same(found, known, close=0.02)
    assert isinstance(found["model.layers.1.mlp.up_proj.weight"].rows, np.memmap)


def test_matrices_of_the_same_inputs_share_their_form() -> None:
    found = collect(network_of("llama"), lambda: batches_for("llama"))
    prefix = "model.layers.1"
    sides = {one: found[f"{prefix}.{one}.weight"].columns for one in (
        "self_attn.k_proj", "self_attn.v_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"
    )}  # fmt: skip
    assert sides["mlp.gate_proj"] is sides["mlp.up_proj"] is not sides["mlp.down_proj"]
    assert sides["self_attn.k_proj"] is sides["self_attn.v_proj"]


def test_a_batch_that_is_cut_has_the_curvature_of_its_samples(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of an encoder, whose samples do not meet; by many directions, as other ones are drawn."""
    network, batches = network_of("bert"), batches_for("bert")
    known = collect(network, lambda: batches, projections=8)
    for name in ("VALUES", "POSITIONS", "OUTPUTS"):
        monkeypatch.setattr(chain_cutting, name, 1)
    met = []
    found = collect(
        network, lambda: batches, projections=8, progress=lambda *step: met.append(step)
    )
    assert met[-1] == ("curvature", 8 * 9, 8 * 9)  # nine samples, through four parts and back
    for name, one in known.items():
        other = found[name]
        if one.kind == "linear":
            assert other.positions == one.positions
            np.testing.assert_allclose(
                other.columns, one.columns, atol=1e-4 * np.abs(one.columns).max()
            )
            assert np.trace(other.rows) == pytest.approx(np.trace(one.rows), rel=0.5)


def test_a_network_in_half_precision_is_summed_in_float32_and_left_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    narrow, batches = network_of("llama").bfloat16(), batches_for("llama")
    before = {name: (id(one), one.data_ptr()) for name, one in narrow.named_parameters()}
    found = collect(narrow, lambda: batches)
    after = {name: (id(one), one.data_ptr()) for name, one in narrow.named_parameters()}
    assert after == before and narrow.lm_head.weight.dtype == torch.bfloat16
    wide = network_of("llama").bfloat16().float()
    same(found, without_chain(monkeypatch, wide, lambda: batches))


class Skipping(torch.nn.Module):
    """A head that is given what the stem gave, too: its gradients pass the blocks by."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = torch.nn.Linear(4, 6), torch.nn.Linear(6, 2)
        self.blocks = torch.nn.ModuleList(torch.nn.Linear(6, 6) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = first = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x + first)


class Backwards(Skipping):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        blocks = [*self.blocks][:: 1 if x.shape[0] == 3 else -1]
        x = self.stem(x)
        for block in blocks:
            x = block(x)
        return self.head(x)


@pytest.mark.parametrize("kind", [Skipping, Backwards])
def test_a_network_that_is_no_chain_after_all_is_summed_as_a_whole(
    kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    network = kind()
    batches = [torch.randn(3, 4), torch.randn(5, 4)]
    assert find_chain(network, batches[0]) is not None
    found = collect(network, lambda: batches)
    same(found, without_chain(monkeypatch, network, lambda: batches), close=1e-6)


def test_wide_sides_are_summed_in_panels_and_beyond_the_limit_diagonal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network, batches = network_of("llama"), batches_for("llama")
    known = collect(network, lambda: batches)
    monkeypatch.setattr("taut.analysis._gram._PANEL", 5)
    same(collect(network, lambda: batches), known, close=1e-6)
    found = collect(network, lambda: batches, widest=20)["model.layers.0.mlp.down_proj.weight"]
    assert found.columns.ndim == 1 and found.rows.ndim == 2
    assert "24 inputs are too many for a full form (at most 20)" in found.notes
