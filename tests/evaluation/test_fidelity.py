"""Errors known beforehand, and the layer that made them."""

from __future__ import annotations

import copy
import math

import pytest

from taut.errors import ArgumentError
from taut.evaluation.fidelity import compare_models, measure_fidelity
from taut.networks.fold_norms import fold_norms_
from taut.scoring.results import plain

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def scaled(model: nn.Module, name: str, by: float) -> nn.Module:
    """A copy with one parameter times a number."""
    new = copy.deepcopy(model)
    new.get_parameter(name).data *= by
    return new


def test_an_equal_model_has_no_error_even_if_it_is_the_same_object() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))
    for new in (model, copy.deepcopy(model)):
        found = measure_fidelity(new, model, [torch.randn(5, 3, 4, 4), torch.randn(2, 3, 4, 4)])
        assert (found.samples, found.rel_mse, found.max_error) == (7, 0.0, 0.0)
        assert found.cosine == pytest.approx(1)
        assert [layer.name for layer in found.layers] == ["0", "3"]
        assert [layer.kind for layer in found.layers] == ["Conv2d", "Linear"]
        assert all(layer.rel_mse == layer.own_rel_mse == 0 for layer in found.layers)


def test_a_damaged_layer_is_told_from_those_behind_it() -> None:
    model = nn.Sequential(*(nn.Linear(8, 8, bias=False) for _ in range(3)))
    found = measure_fidelity(scaled(model, "1.weight", 0.9), model, [torch.randn(20, 8)])
    first, second, third = found.layers
    assert (first.rel_mse, first.own_rel_mse) == (0, 0)
    assert second.rel_mse == pytest.approx(0.01) == pytest.approx(second.own_rel_mse)
    assert third.rel_mse == pytest.approx(0.01) and third.own_rel_mse == 0
    assert found.rel_mse == pytest.approx(0.01) and found.cosine == pytest.approx(1)
    assert found.worst is second


def test_sums_are_over_all_batches_and_a_row_is_a_sample() -> None:
    old, new = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    old.weight.data = torch.eye(2)
    new.weight.data = torch.tensor([[1.0, 0.0], [0.0, 0.0]])  # keeps the first axis alone
    batches = [torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 4.0], [2.0, 2.0]])]
    found = measure_fidelity(new, old, batches)
    assert found.samples == 3 and found.max_error == 4
    assert found.rel_mse == pytest.approx((16 + 4) / (9 + 16 + 8))
    assert found.cosine == pytest.approx((1 + 0 + math.sqrt(0.5)) / 3)


class Named(nn.Module):
    """A linear layer under a name."""

    def __init__(self, name: str, classes: int = 3) -> None:
        super().__init__()
        self.name = name
        self.add_module(name, nn.Linear(4, classes, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.get_submodule(self.name)(x)


def test_kl_is_of_softened_outputs_and_only_of_logits() -> None:
    old, x = Named("fc"), torch.randn(6, 4)
    new = scaled(old, "fc.weight", 0.5)
    p, q = (model(x).detach().double().softmax(1) for model in (old, new))
    expected = float((p * (p / q).log()).sum(1).mean().detach())
    assert measure_fidelity(new, old, [x[:2], x[2:]]).kl == pytest.approx(expected)
    assert measure_fidelity(new, old, [x], logits=False).kl is None
    embed = Named("inner")
    assert measure_fidelity(embed, embed, [x]).kl is None
    assert measure_fidelity(embed, embed, [x], logits=True).kl == 0
    one = Named("fc", classes=1)  # a softmax of one class is no distribution
    assert measure_fidelity(one, one, [x]).kl is None


def test_maps_of_logits_have_a_distribution_a_pixel() -> None:
    class Segment(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 5, 1)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"logits": self.conv(x)}

    old, x = Segment(), torch.randn(2, 3, 4, 4)
    new = scaled(old, "conv.weight", 0.7)
    p, q = (model(x)["logits"].detach().double().softmax(1) for model in (old, new))
    found = measure_fidelity(new, old, [x])
    assert found.kl == pytest.approx(float((p * (p / q).log()).sum(1).mean().detach()))
    a, b = (model(x)["logits"].detach().flatten(1) for model in (old, new))
    assert found.cosine == pytest.approx(float(torch.cosine_similarity(a, b).mean()), rel=1e-5)


def test_a_class_that_cannot_be_adds_nothing() -> None:
    old = Named("fc")
    old.register_buffer("never", torch.tensor([0.0, 0.0, -math.inf]))
    old.forward = lambda x: {"logits": Named.forward(old, x) + old.never}
    new = copy.deepcopy(old)
    assert measure_fidelity(new, old, [torch.randn(3, 4)]).kl == 0


class Tokens(nn.Module):
    """Vectors of tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.mix = nn.Embedding(9, 4), nn.Linear(4, 4, bias=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        return {"pooled": torch.ones(1), "last_hidden_state": self.mix(self.table(input_ids))}


def test_padding_counts_nowhere() -> None:
    old = Tokens()
    new = copy.deepcopy(old)
    new.table.weight.data[0] += 100  # the token of padding
    new.table.weight.data[3] *= 2
    batch = {
        "input_ids": torch.tensor([[3, 4, 0, 0], [5, 6, 7, 3]]),
        "attention_mask": torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]]),
    }
    found = measure_fidelity(new, old, [batch])
    kept = old.table.weight[torch.tensor([3, 4, 5, 6, 7, 3])].detach().double()
    share = float(2 * kept[0].square().sum() / kept.square().sum())
    assert found.layers[0].name == "table"
    assert found.layers[0].rel_mse == pytest.approx(share)
    assert found.layers[1].own_rel_mse == 0
    assert found.samples == 2
    mixed = old.mix(kept.float()).detach()
    assert found.rel_mse == pytest.approx(
        float(2 * mixed[0].square().sum() / mixed.square().sum()), rel=1e-5
    )
    wrapped = measure_fidelity(Encoder(new), Encoder(old), [(batch,)])
    assert wrapped.rel_mse == found.rel_mse and wrapped.samples == 2


class Encoder(nn.Module):
    """Takes its dict as one argument and writes into it, as sentence encoders do."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        features.update(self.inner(**features))
        features.pop("pooled")
        return features


def test_recurrent_layers_and_attention_are_one_layer_each() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(4, 6, batch_first=True)
            self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
            self.last = nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            x, _ = self.lstm(x)
            x, _ = self.attention(x, x, x, need_weights=False)
            return self.last(x[:, -1])

    old = Net()
    new = scaled(old, "attention.out_proj.weight", 0.5)
    new.attention.out_proj.bias.data *= 0.5
    found, left_out = compare_models(new, old, [torch.randn(3, 5, 4)])
    assert [layer.name for layer in found.layers] == ["lstm", "attention", "last"] and not left_out
    assert [layer.own_rel_mse for layer in found.layers] == pytest.approx([0, 0.25, 0])
    assert found.worst.name == "attention"


def test_a_layer_that_is_used_twice_and_a_tied_one_are_followed() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.body = nn.Embedding(7, 5), nn.Linear(5, 5, bias=False)
            self.again, self.lm_head = self.body, nn.Linear(5, 7, bias=False)
            self.lm_head.weight = self.table.weight

        def forward(self, ids: Tensor) -> Tensor:
            return self.lm_head(self.again(self.body(self.table(ids))))

    old, ids = Twice(), torch.randint(0, 7, (3, 4))
    found = measure_fidelity(scaled(old, "body.weight", 0.9), old, [ids])
    assert [layer.name for layer in found.layers] == ["table", "body", "lm_head"]
    h = old.table(ids)
    first, second = old.body(h).detach().double(), old.body(old.body(h)).detach().double()
    a, b = float(first.square().sum()), float(second.square().sum())
    body = found.layers[1]
    assert body.own_rel_mse == pytest.approx(0.01)
    assert body.rel_mse == pytest.approx((0.01 * a + 0.19**2 * b) / (a + b))
    tied = measure_fidelity(scaled(old, "table.weight", 0.9), old, [ids])
    assert [layer.own_rel_mse for layer in tied.layers] == pytest.approx([0.01, 0, 0.01])
    assert tied.kl is not None


def test_a_language_model_of_transformers_is_read_token_by_token() -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"vocab_size": 11, "n_positions": 8, "n_embd": 8, "n_layer": 1, "n_head": 2}
    old = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes))
    new = scaled(old, "transformer.h.0.mlp.c_fc.weight", 0.8)
    ids, mask = torch.randint(0, 11, (2, 5)), torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    found = measure_fidelity(new, old, [{"input_ids": ids, "attention_mask": mask}])
    with torch.no_grad():
        p, q = (m.eval()(ids, attention_mask=mask).logits.double().softmax(-1) for m in (old, new))
    assert found.kl == pytest.approx(float((p * (p / q).log()).sum(-1)[mask == 1].mean()))
    layers = {layer.name: layer for layer in found.layers}
    assert layers["transformer.h.0.mlp.c_fc"].kind == "Conv1D"
    assert layers["transformer.h.0.mlp.c_fc"].own_rel_mse == pytest.approx(0.04)
    assert [n for n, layer in layers.items() if layer.own_rel_mse] == ["transformer.h.0.mlp.c_fc"]
    assert layers["transformer.h.0.attn.c_proj"].rel_mse == 0 < layers["lm_head"].rel_mse


def test_layers_that_have_no_match_are_left_out_and_said() -> None:
    class Deep(nn.Module):
        def __init__(self, wide: int) -> None:
            super().__init__()
            self.start = nn.Parameter(torch.zeros(1, 4))  # makes the whole a holder of weights
            self.a, self.b = nn.Linear(4, wide), nn.Linear(wide, 4)
            self.c, self.spare = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.c(self.b(self.a(x + self.start)))

    old, new = Deep(6), Deep(5)
    new.c = nn.Sequential(nn.Linear(4, 1, bias=False), nn.Linear(1, 4))  # two thin ones instead
    found, left_out = compare_models(new, old, [torch.randn(2, 4)])
    assert [layer.name for layer in found.layers] == ["c"] and found.layers[0].own_rel_mse > 0
    assert left_out == {
        "": "it holds other layers",
        "a": "weight is [6, 4], in the new model [5, 4]",
        "b": "weight is [4, 6], in the new model [4, 5]",
        "spare": "never ran",
    }
    del new.spare
    new.c = nn.Linear(3, 4)
    new.c.weight = nn.Parameter(torch.ones(4, 4))
    new.c.forward = lambda x: x[:, :3].abs()
    new.forward = lambda x: x
    left_out = compare_models(new, old, [torch.randn(2, 4)])[1]
    assert left_out["c"] == "the new model's layer gives an output of another shape"
    assert left_out["spare"] == "the new model has no layer of this name"


def test_calls_that_do_not_correspond_leave_a_layer_its_own_error() -> None:
    class Chosen(nn.Module):
        """Sends rows to one of two layers by the sign of what a first one says."""

        def __init__(self) -> None:
            super().__init__()
            self.router, self.expert = nn.Linear(2, 1, bias=False), nn.Linear(2, 2, bias=False)
            self.router.weight.data = torch.tensor([[1.0, 0.0]])

        def forward(self, x: Tensor) -> Tensor:
            chosen = (self.router(x) > 0)[:, 0]
            out = torch.zeros_like(x)
            out[chosen] = self.expert(x[chosen])
            return out

    old = Chosen()
    new = scaled(scaled(old, "router.weight", -1.0), "expert.weight", 0.9)
    x = torch.tensor([[1.0, 2.0], [3.0, 1.0], [-1.0, 1.0]])
    router, expert = measure_fidelity(new, old, [x]).layers
    assert router.rel_mse == pytest.approx(4) and router.cosine == pytest.approx(-1)
    assert expert.own_rel_mse == pytest.approx(0.01) and math.isnan(expert.rel_mse)
    assert plain(expert)["rel_mse"] is None


def test_half_precision_is_held_against_single() -> None:
    old = nn.Sequential(nn.Linear(16, 8), nn.Linear(8, 4))
    new = copy.deepcopy(old)
    new[0].to(torch.bfloat16)
    new[0].register_forward_pre_hook(lambda _, given: (given[0].bfloat16(),))
    new[0].register_forward_hook(lambda _, __, out: out.float())
    found = measure_fidelity(new, old, [torch.randn(32, 16)])
    assert 1e-7 < found.layers[0].own_rel_mse < 1e-4 and found.layers[1].own_rel_mse == 0


class Careless(nn.Module):
    """Drops out, normalises with running means, renormalises its table, changes its input."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.drop = nn.Embedding(10, 4, max_norm=0.1), nn.Dropout(0.5)
        self.norm, self.last = nn.BatchNorm1d(4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.drop(self.table(x).mean(1)))
        return self.last(h).relu_() + torch.rand(1)


def test_nothing_is_changed_and_both_meet_the_same_noise() -> None:
    old = Careless().train()
    old.norm.eval()
    new = copy.deepcopy(old)
    old.last.weight.grad = new.last.weight.grad = torch.ones(4, 4)
    before = {name: value.clone() for name, value in old.state_dict().items()}
    x, noise = torch.randint(0, 10, (6, 3)), torch.get_rng_state()
    found = measure_fidelity(new, old, [x])
    assert found.rel_mse < 1e-12  # a table that is shortened twice is rounded twice
    assert torch.equal(torch.get_rng_state(), noise)
    for model in (old, new):
        assert [part.training for part in model.modules()] == [True, True, True, False, True]
        assert torch.equal(model.last.weight.grad, torch.ones(4, 4))
        assert all(torch.equal(model.state_dict()[name], before[name]) for name in before)
        assert all(not part._forward_hooks for part in model.modules())
        assert all(p.requires_grad for p in model.parameters())


def test_a_layer_whose_output_is_changed_in_place_is_compared_as_it_was() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True))
    new = copy.deepcopy(model)
    new[0].weight.data *= 0.5
    new[0].bias.data *= 0.5
    layer = measure_fidelity(new, model, [torch.randn(9, 4)]).layers[0]
    assert layer.rel_mse == pytest.approx(0.25) and layer.cosine == pytest.approx(1)


def test_a_folded_norm_makes_no_error_of_the_layer_before_it() -> None:
    torch.manual_seed(0)
    old = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1)).eval()
    with torch.no_grad():
        old[1].running_var.uniform_(0.01, 40)
        old[1].running_mean.uniform_(-1, 1)
    batches = [torch.randn(2, 3, 8, 8)]
    new = copy.deepcopy(old)
    fold_norms_(new, batches)
    found = measure_fidelity(new, old, batches)
    assert [one.name for one in found.layers] == ["0", "3"]
    assert max(one.rel_mse for one in found.layers) < 1e-9
    assert max(one.own_rel_mse for one in found.layers) < 1e-9
    rounded = measure_fidelity(scaled(new, "0.weight", 1.1), old, batches)
    assert 0.001 < rounded.layers[0].own_rel_mse < 0.011


def test_what_is_wrong_is_said() -> None:
    a, b = nn.Linear(2, 2), nn.Linear(2, 3)
    with pytest.raises(ArgumentError, match="no batch"):
        measure_fidelity(a, a, [])
    with pytest.raises(ArgumentError, match=r"the original's output is \[1, 3\], the new model's"):
        measure_fidelity(a, b, [torch.ones(1, 2)])
    with pytest.raises(ArgumentError, match="batch 2, the original: the model rejects it"):
        measure_fidelity(a, a, [torch.ones(1, 2), torch.ones(1, 5)])


def test_progress_is_told() -> None:
    model, seen = nn.Linear(2, 2), []
    batches = [torch.ones(1, 2)] * 2
    measure_fidelity(model, model, batches, progress=lambda *one: seen.append(one))
    measure_fidelity(model, model, iter(batches[:1]), progress=lambda *one: seen.append(one))
    assert seen == [("fidelity", 1, 2), ("fidelity", 2, 2), ("fidelity", 1, 0)]


class Heads(nn.Module):
    """A class, numbers, and numbers that no weight leads to."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.box = nn.Linear(4, 3, bias=False), nn.Linear(4, 2, bias=False)

    def forward(self, x: Tensor) -> dict[str, object]:
        return {"logits": self.fc(x), "heads": [self.box(x)], "told": x + 0}


def test_every_output_that_is_computed_is_told_by_its_own_kind() -> None:
    old, x = Heads(), torch.randn(40, 4)
    found = measure_fidelity(scaled(old, "box.weight", 0.9), old, [x[:30], x[30:]])
    assert (found.name, found.rel_mse, found.kl) == ("logits", 0, 0)
    (box,) = found.others
    assert (box.name, box.kl) == ("heads.0", None)
    assert box.rel_mse == pytest.approx(0.01) and box.cosine == pytest.approx(1)
    moved = old.box(x).abs().max().item() * 0.1
    assert box.max_error == pytest.approx(moved, rel=1e-5)
    assert measure_fidelity(scaled(old, "fc.weight", 0.5), old, [x]).others[0].rel_mse == 0


def test_an_output_beside_the_main_one_that_changed_its_shape_is_named() -> None:
    class Kept(Heads):
        def forward(self, x: Tensor) -> dict[str, object]:
            given = super().forward(x)
            return {**given, "heads": [given["heads"][0][:1]]}

    old = Heads()
    new = Kept()
    new.load_state_dict(old.state_dict())
    found, left_out = compare_models(new, old, [torch.randn(20, 4)])
    assert found.others == () and left_out == {"output heads.0": "[20, 2] became [1, 2]"}


def test_complex_outputs_are_compared_as_pairs_of_reals() -> None:
    class Waves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            one, other = self.a(x), self.b(x)
            return torch.complex(one, other), torch.complex(other, one)

    old = Waves()
    found = measure_fidelity(scaled(old, "a.weight", 0.0), old, [torch.randn(20, 4)])
    (second,) = found.others
    assert second.name == "1" and second.rel_mse == pytest.approx(found.rel_mse)
    assert 0 < found.rel_mse < 1


@pytest.mark.parametrize("size", [4, 32])
def test_what_outputs_hold_is_told_by_several_batches_where_one_is_small(size: int) -> None:
    model = nn.Sequential(nn.Linear(8, 5), nn.Softmax(-1))
    given = torch.randn(32, 8)
    new = scaled(model, "0.weight", 0.5)
    found = measure_fidelity(new, model, list(given.split(size)))
    p, q = model(given), new(given)
    assert found.kl == pytest.approx(float((p * (p / q).log()).sum(1).mean().detach()), rel=1e-4)
    assert measure_fidelity(new, model, iter(given.split(4))).kl is None
