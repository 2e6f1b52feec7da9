"""A network run through its chain gives its own output, bit for bit, and is left as it was."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from taut.errors import ArgumentError

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", "5")

from taut.networks.chain import Chain  # noqa: E402
from taut.networks.find_chain import find_chain  # noqa: E402
from taut.networks.outputs import float_parts  # noqa: E402

SHAPE = {
    "vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2,
    "num_key_value_heads": 2, "head_dim": 8, "intermediate_size": 24, "pad_token_id": 0,
    "max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
BOTH = {
    "d_model": 16, "encoder_layers": 3, "decoder_layers": 3, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24,
}  # fmt: skip
EXPERTS = {"num_experts_per_tok": 2, "output_router_logits": True}
IMAGE = {"image_size": 32, "patch_size": 8}
LM, BARE = "AutoModelForCausalLM", "AutoModel"
KINDS: dict[str, tuple[str, dict[str, Any], str]] = {
    "llama": (LM, {}, "model.layers.0"),
    "gemma3_text": (LM, {"sliding_window": 4, "layer_types": [
        "sliding_attention", "full_attention", "sliding_attention"]}, "model.layers.0"),
    "mixtral": (LM, {"num_local_experts": 4, **EXPERTS}, "model.layers.0"),
    "qwen3_moe": (LM, {"moe_intermediate_size": 8, "num_experts": 4, **EXPERTS}, "model.layers.0"),
    "gpt2": (LM, {}, "transformer.h.0"),
    "mamba": (LM, {"state_size": 4}, "backbone.layers.0"),
    "bert": ("AutoModelForMaskedLM", {}, "bert.encoder.layer.0"),
    "modernbert": (BARE, {"cls_token_id": 1, "sep_token_id": 2}, "layers.0"),
    "deberta-v2": (BARE, {}, "encoder.layer.0"),
    # The first block makes the position bias of all others: it is of the front.
    "t5": ("AutoModelForSeq2SeqLM", {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 3,
        "num_heads": 2, "decoder_start_token_id": 0}, "decoder.block.1"),
    "bart": ("AutoModelForSeq2SeqLM", BOTH, "model.decoder.layers.0"),
    "vit": ("AutoModelForImageClassification", IMAGE, "vit.layers.0"),
}  # fmt: skip


def network_of(kind: str) -> torch.nn.Module:
    auto, more, _ = KINDS[kind]
    shape = SHAPE if kind != "gpt2" else {"vocab_size": 50, "n_embd": 16, "n_layer": 3, "n_head": 2}
    config = transformers.AutoConfig.for_model(kind, **{**shape, **more})
    torch.manual_seed(0)
    return getattr(transformers, auto).from_config(config).eval()


def batch_for(kind: str) -> dict[str, torch.Tensor]:
    if kind == "vit":
        return {"pixel_values": torch.randn(3, 3, 32, 32)}
    ids = torch.arange(3, 43).reshape(4, 10)
    mask = torch.ones_like(ids)
    mask[1, 7:] = 0
    more = {"decoder_input_ids": ids[:, :6]} if kind in ("t5", "bart") else {}
    return {"input_ids": ids, "attention_mask": mask, **more}


def through(chain: Chain, batch: object) -> object:
    entered = chain.enter(batch)
    hidden = entered.hidden
    for index in range(len(chain)):
        hidden = chain.run(index, entered, hidden)
    return chain.leave(batch, hidden)


def state(network: torch.nn.Module) -> list[object]:
    """What a run must leave alone: modules, their attributes, modes and options."""
    parts = [(name, id(part), {**vars(part)}) for name, part in network.named_modules()]
    held = [(name, {key: id(one) for key, one in known.items()}) for name, _, known in parts]
    config = getattr(network, "config", None)
    return [[one[:2] for one in parts], held, config and config.to_dict()]


@pytest.mark.parametrize("kind", KINDS)
def test_the_chain_gives_the_networks_own_output(kind: str) -> None:
    network, batch = network_of(kind), batch_for(kind)
    with torch.no_grad():
        own = network(**batch, use_cache=False)
    before = state(network)
    chain = find_chain(network, batch)
    assert chain is not None and chain.names[0] == KINDS[kind][2]
    assert len(chain) == (2 if kind == "t5" else 3)
    with torch.no_grad():
        found = through(chain, batch)
    name = "logits" if hasattr(own, "logits") else "last_hidden_state"
    assert torch.equal(getattr(found, name), getattr(own, name))
    assert state(network) == before


def test_blocks_of_several_kinds_get_their_own_masks_and_share_what_is_shared() -> None:
    chain = find_chain(network_of("gemma3_text"), batch_for("gemma3_text"))
    one, two, three = (
        other.kwargs["attention_mask"] for other in chain.enter(batch_for("gemma3_text")).others
    )
    assert one is three and one is not two and not torch.equal(one, two)


def test_gradients_flow_from_the_head_through_each_block() -> None:
    network, batch = network_of("llama"), batch_for("llama")
    chain = find_chain(network, batch)
    entered = chain.enter(batch)
    kept = [entered.hidden.detach()]
    for index in range(len(chain)):
        kept.append(chain.run(index, entered, kept[-1]).detach())
    last = kept[-1].requires_grad_()
    chain.leave(batch, last).logits.square().sum().backward()
    gradient = last.grad
    for index in reversed(range(len(chain))):
        hidden = kept[index].detach().requires_grad_()
        chain.run(index, entered, hidden).backward(gradient)
        gradient = hidden.grad
    entered.hidden.backward(gradient)
    found = {name: one.grad.clone() for name, one in network.named_parameters()}
    network.zero_grad()
    network(**batch).logits.square().sum().backward()
    for name, one in network.named_parameters():
        torch.testing.assert_close(found[name], one.grad, atol=1e-6, rtol=1e-4)


def test_another_module_of_the_form_runs_in_a_blocks_place() -> None:
    network, batch = network_of("llama"), batch_for("llama")
    chain, entered = find_chain(network, batch), None
    entered = chain.enter(batch)
    other = copy.deepcopy(chain.blocks[1])
    with torch.no_grad():
        same = chain.run(1, entered, entered.hidden, other)
        assert torch.equal(same, chain.run(1, entered, entered.hidden))
        for one in other.parameters():
            one.zero_()
        assert torch.equal(chain.run(1, entered, entered.hidden, other), entered.hidden)


class Plain(torch.nn.Module):
    """A stem, blocks that are joined in some way, and a head."""

    def __init__(self, way: str = "chain") -> None:
        super().__init__()
        self.stem, self.head = torch.nn.Linear(4, 6), torch.nn.Linear(6, 2)
        self.blocks = torch.nn.ModuleList(torch.nn.Linear(6, 6) for _ in range(3))
        self.way = way

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        seen = x
        for block in self.blocks:
            out = block(x)
            seen = seen + out
            x = out if self.way in ("chain", "dense", "often") else x + out
        if self.way == "often":
            x = self.blocks[0](x)
        if self.way == "dense":
            x = seen
        return self.head(x)


@pytest.mark.parametrize("way", ["beside", "dense"])
def test_blocks_that_are_joined_in_another_way_are_no_chain(way: str) -> None:
    assert find_chain(Plain(way), torch.randn(3, 4)) is None


def test_a_block_that_runs_twice_is_of_no_chain() -> None:
    chain = find_chain(Plain("often"), torch.randn(3, 4))
    assert chain is not None and chain.names == ("blocks.1", "blocks.2")


def test_a_plain_network_and_a_sequential_have_chains() -> None:
    assert find_chain(Plain(), torch.randn(3, 4)).names == ("blocks.0", "blocks.1", "blocks.2")
    block = lambda: torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU())  # noqa: E731
    net = torch.nn.Sequential(torch.nn.Flatten(), block(), block(), torch.nn.Linear(4, 2))
    chain, batch = find_chain(net, torch.randn(3, 2, 2)), torch.randn(3, 2, 2)
    assert chain.names == ("1", "2")
    assert torch.equal(through(chain, batch), net(batch))
    assert find_chain(torch.nn.Linear(2, 2), torch.randn(3, 2)) is None


class Turning(Plain):
    """Runs its blocks backwards for some batches, and one too few for others."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        blocks = [*self.blocks]
        blocks = blocks[::-1] if x.min() > 0 else blocks[: len(blocks) - int(x.max() < 0)]
        x = self.stem(x)
        for block in blocks:
            x = block(x)
        return self.head(x)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_batch_that_takes_another_way_is_told_and_the_network_put_back(sign: float) -> None:
    net = Turning()
    before = state(net)
    chain = find_chain(net, torch.tensor([[1.0, -1, 1, -1]]))
    with pytest.raises(ArgumentError, match=r"batch 7: takes another way"):
        chain.enter(sign * torch.ones(2, 4), "batch 7")
    assert state(net) == before
    mixed = torch.tensor([[1.0, -1, 1, -1]])
    assert torch.equal(through(chain, mixed), net(mixed))
    assert list(float_parts(net(mixed))) == [""]
