"""Channels that go together go together, and nothing else changes."""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import pytest

from taut.errors import ArgumentError, TargetError
from taut.loading.reshape import reshaped

torch = pytest.importorskip("torch")
pytest.importorskip("torch_pruning")

from taut.transform.channels import prune_channels  # noqa: E402

ASSETS = Path(__file__).resolve().parents[3] / "shared" / "assets"
F = torch.nn.functional
nn = torch.nn


class Maps(nn.Module):
    """A residual sum, a concatenation, depthwise and grouped convolutions, and a flattening."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.inner = nn.Conv2d(16, 10, 3, padding=1)
        self.back = nn.Conv2d(10, 16, 3, padding=1)
        self.left, self.right = nn.Conv2d(16, 8, 1), nn.Conv2d(16, 12, 1)
        self.deep = nn.Conv2d(20, 20, 3, padding=1, groups=20)
        self.grouped, self.group_norm = nn.Conv2d(20, 24, 3, groups=4), nn.GroupNorm(4, 24)
        self.hidden, self.head = nn.Linear(24 * 4, 32), nn.Linear(32, 5)

    def forward(self, x):
        x = F.relu(self.norm(self.stem(x)))
        x = F.relu(x + self.back(F.relu(self.inner(x))))
        x = F.relu(self.deep(torch.cat([self.left(x), self.right(x)], 1)))
        x = F.adaptive_avg_pool2d(F.relu(self.group_norm(self.grouped(x))), 2)
        return self.head(F.relu(self.hidden(x.flatten(1))))


class Tokens(nn.Module):
    """Two encoder blocks over embeddings with learned positions."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 32)
        self.positions = nn.Parameter(torch.randn(1, 6, 32))
        block = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, dropout=0.0)
        self.blocks = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 3)

    def forward(self, ids):
        return self.head(self.blocks(self.embedding(ids) + self.positions).mean(1))


class Padded(nn.Module):
    """A shortcut of He et al. 2016, option A: a residual stream that padding makes wider."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.wide = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        x = F.relu(self.norm(self.stem(x)))
        short = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4))
        return self.head(F.relu(self.wide(x) + short).mean((2, 3)))


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(6, 40), nn.ReLU(), nn.Linear(40, 20), nn.ReLU(), nn.Linear(20, 3)
    )


def make(kind):
    torch.manual_seed(0)
    net = kind()
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
            nn.init.uniform_(part.weight, 0.5, 2)
    ids = torch.randint(0, 50, (2, 6))
    return net, {mlp: torch.randn(4, 6), Tokens: ids}.get(kind, torch.randn(2, 3, 9, 9))


def shapes(net):
    return {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}


KINDS = [mlp, Maps, Tokens, Padded]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("target", [{"fraction": 0.5}, {"size": 0.6}, {"flops": 0.6}])
def test_a_pruned_network_runs_and_its_class_can_be_made_to_fit(kind, target):
    net, example = make(kind)
    before = copy.deepcopy(net)
    pruned = prune_channels(net, example, **target)
    assert all(
        torch.equal(a, b) for a, b in zip(net.parameters(), before.parameters(), strict=True)
    )
    assert pruned.after.parameters < pruned.before.parameters
    for name, least in (("size", "parameters"), ("flops", "flops")):
        if name in target:
            share = getattr(pruned.after, least) / getattr(pruned.before, least)
            assert 0.6 - 0.2 < share <= 0.6
    torch.manual_seed(1)
    other = kind()
    with reshaped(other, shapes(pruned.module), pruned.modules):
        other.load_state_dict(pruned.module.state_dict())
    assert torch.equal(other.eval()(example), pruned.module.eval()(example))


def test_what_hangs_together_goes_together():
    net, example = make(Maps)
    small = prune_channels(net, example, fraction=0.5, global_=False, ignore=["hidden"]).module
    widths = {name: part.out_channels for name, part in small.named_modules() if "." not in name
              and isinstance(part, nn.Conv2d)}  # fmt: skip
    assert widths["stem"] == widths["back"] == small.norm.num_features == 8
    assert widths["inner"] == small.back.in_channels == 5
    assert widths["left"] + widths["right"] == widths["deep"] == small.deep.groups
    assert small.deep.groups == small.grouped.in_channels
    assert (widths["grouped"], small.grouped.groups, small.group_norm.num_channels) == (12, 4, 12)
    assert small.hidden.in_features == 12 * 4  # each map has four pixels
    assert (small.hidden.out_features, small.head.out_features) == (32, 5)


def test_a_channel_that_nobody_reads_goes_first_and_changes_nothing():
    net, example = make(Maps)
    with torch.no_grad():
        for weight in (net.stem.weight, net.back.weight, net.inner.weight.movedim(1, 0)):
            weight[[3, 7]] = 0
        for weight in (net.left.weight, net.right.weight):
            weight[:, [3, 7]] = 0
        for weight in (net.norm.weight, net.norm.bias, net.stem.bias, net.back.bias):
            weight[[3, 7]] = 0
    left = ["inner", "left", "right", "grouped", "hidden", "deep"]
    pruned = prune_channels(net, example, fraction=2 / 16, ignore=left)
    assert pruned.channels == {"back": (16, 14)}
    kept = [i for i in range(16) if i not in (3, 7)]
    assert torch.equal(pruned.module.stem.weight, net.stem.weight[kept])
    found, wanted = pruned.module.eval()(example), net.eval()(example)
    assert torch.allclose(found, wanted, atol=1e-5)


def test_whole_heads_go_with_the_stream():
    net, example = make(Tokens)
    pruned = prune_channels(net, example, fraction=0.5, global_=False)
    attention = pruned.module.blocks.layers[0].self_attn
    assert (attention.num_heads, attention.head_dim, attention.embed_dim) == (2, 8, 16)
    assert pruned.modules["blocks.layers.0.self_attn"]["num_heads"] == 2
    assert pruned.modules["blocks.layers.0.norm1"] == {"normalized_shape": 16}
    assert pruned.module.positions.shape == (1, 6, 16)
    assert pruned.module.blocks.layers[0].linear1.out_features == 32


def test_heads_of_transformers_go_without_the_stream():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=40, hidden_size=24, num_hidden_layers=1, num_attention_heads=3,
        intermediate_size=32, max_position_embeddings=8, num_labels=2,
    )  # fmt: skip
    net = transformers.BertForSequenceClassification(config).eval()
    batch = {"input_ids": torch.randint(0, 40, (2, 5))}
    pruned = prune_channels(
        net, batch, fraction=1 / 3, global_=False, ignore=["*.output.*", "*pooler*", "*embeddings*"]
    )
    attention = pruned.module.bert.encoder.layer[0].attention.self
    assert (attention.num_attention_heads, attention.all_head_size) == (2, 16)
    assert attention.query.weight.shape == (16, 24)
    assert pruned.modules["bert.encoder.layer.0.attention.self"] == {
        "num_attention_heads": 2, "all_head_size": 16,
    }  # fmt: skip
    assert pruned.module.bert.encoder.layer[0].intermediate.dense.out_features == 22


def test_padded_streams_lose_the_channels_that_meet():
    net, example = make(Padded)
    pruned = prune_channels(net, example, fraction=0.25)
    kept = [i for i in range(8) if any(torch.equal(net.stem.weight[i], w) for w in pruned.module.stem.weight)]  # fmt: skip  # noqa: E501
    assert len(kept) == 6
    wide = [*range(4), *(i + 4 for i in kept), *range(12, 16)]
    assert torch.equal(pruned.module.wide.weight, net.wide.weight[wide][:, kept])


@pytest.mark.skipif(not ASSETS.exists(), reason="no ../shared/assets beside the checkout")
def test_half_of_a_real_residual_network_goes_across_its_shortcuts(monkeypatch):
    monkeypatch.syspath_prepend(str(ASSETS / "scripts"))
    from cifar_resnet import load

    net = load(str(ASSETS / "cifar10" / "resnet20_jpegft.safetensors"))
    example = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    pruned = prune_channels(net, example, fraction=0.5, global_=False)
    assert pruned.kept == {"linear": "its channels are the model's output"}
    assert set(pruned.channels.values()) == {(16, 8), (32, 16), (64, 32)}
    # The stream is 8, then 24, then 56 wide: what its padding adds has nothing to go with.
    widths = [getattr(pruned.module, f"layer{i}")[0].conv2.out_channels for i in (1, 2, 3)]
    assert widths == [8, 24, 56]


def test_what_the_graph_has_wrong_stays_whole():
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 10)
            self.head = nn.Linear(10, 2)

        def forward(self, x):
            return self.head(F.relu(self.second(self.first(x).softmax(-1))))

    torch.manual_seed(0)
    pruned = prune_channels(Mixed(), torch.randn(3, 6), fraction=0.5)
    assert pruned.channels == {"second": (10, 5)}
    assert "computes something else" in pruned.kept["first"]
    assert pruned.kept["head"] == "its channels are the model's output"


@pytest.mark.parametrize("importance", ["taylor", "curvature"])
def test_gradients_find_the_units_that_matter(importance):
    net, _ = make(mlp)
    with torch.no_grad():  # large weights that do not matter, for nobody reads them
        net[0].weight[::2] *= 100
        net[2].weight[:, ::2] *= 1e-6
        net[0].bias += 3  # all are active on something
    x = torch.randn(64, 6)
    batches = [(x[i : i + 8], torch.randint(0, 3, (8,))) for i in range(0, 64, 8)]

    class Fed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x, y):
            return self.net(x)

    pruned = prune_channels(
        Fed(), batches[0], fraction=0.5, importance=importance, batches=batches,
        loss=lambda output, batch: F.cross_entropy(output, batch[1]),
        ignore=["net.2"],
    )  # fmt: skip
    assert torch.equal(pruned.module.net[0].weight, net[0].weight[1::2])
    assert all(parameter.grad is None for parameter in net.parameters())


def test_as_much_goes_as_the_score_allows():
    net, example = make(mlp)
    calls = []

    def score(model):
        calls.append(model)
        return sum(p.numel() for p in model.parameters()) / 1163

    pruned = prune_channels(net, example, max_drop=0.3, score=score, ignore=["2"])
    assert len(calls) <= 12
    # A hidden unit takes 6 + 1 + 20 parameters of 1163: 12 of them are 0.279, 13 are 0.302.
    assert pruned.channels == {"0": (40, 28)}
    with pytest.raises(TargetError, match=r'max_drop: 0.001 .*"[02]" gone'):
        prune_channels(net, example, max_drop=0.001, score=score)


def test_ties_frozen_weights_and_modes_are_kept():
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.inner = nn.Embedding(30, 16), nn.Linear(16, 16)
            self.head = nn.Linear(16, 30, bias=False)
            self.head.weight = self.embedding.weight

        def forward(self, ids):
            return self.head(torch.relu(self.inner(self.embedding(ids))) + self.embedding(ids))

    net = Tied().train()
    net.inner.bias.requires_grad_(False)
    small = prune_channels(net, torch.arange(6)[None], fraction=0.5).module
    assert small.head.weight is small.embedding.weight
    assert small.head.weight.shape == (30, 8)
    assert (small.inner.bias.requires_grad, small.inner.weight.requires_grad) == (False, True)
    assert small.training


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (mlp, {}, "give one of fraction, size, flops, max_drop; none of them given"),
        (mlp, {"fraction": 0.5, "size": 0.5}, "fraction and size given"),
        (mlp, {"fraction": 1.0}, r"fraction: 1.0 cannot be"),
        (mlp, {"max_drop": 0.1}, "max_drop takes score"),
        (mlp, {"fraction": 0.99}, r'0.99 would leave "2" without channels; .* works: 0.9667'),
        (mlp, {"fraction": 0.01}, r"removes nothing, .* works: 0.0167"),
        (mlp, {"size": 0.01}, r'size: 0.01 cannot be reached: .*"0" .* 0.0129; give 0.0129'),
        (mlp, {"fraction": 0.5, "ignore": ["fc*"]}, 'ignore: "fc\\*" is no layer'),
        (mlp, {"fraction": 0.5, "ignore": ["*"]}, 'none can be removed: "4": .*; "0": '),
        (mlp, {"fraction": 0.5, "round_to": 24}, 'divides no count of "2", .* works: 20'),
        (Maps, {"fraction": 0.5, "round_to": 7, "ignore": ["[!g]*"]}, "4 at a time; .* works: 6"),
        (mlp, {"fraction": 0.5, "importance": "taylor"}, "takes batches and loss"),
        (mlp, {"fraction": 0.5, "importance": "size"}, "unknown; give magnitude, taylor, curv"),
        (mlp, {"fraction": 0.5, "ignore": "fc"}, 'ignore: "fc" is no layer'),
    ],
)
def test_bad_input_is_told_what_works(kind, arguments, message):
    net, example = make(kind)
    with pytest.raises(ArgumentError, match=message):
        prune_channels(net, example, **arguments)


def test_an_example_that_does_not_fit_is_told():
    with pytest.raises(ArgumentError, match="example_inputs: the model rejects it"):
        prune_channels(mlp(), torch.ones(2, 7), fraction=0.5)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    with pytest.raises(ArgumentError, match=r"pip install 'taut\[prune\]'"):
        prune_channels(mlp(), torch.ones(2, 6), fraction=0.5)


def test_counts_are_multiples_where_they_are_asked_for():
    net, example = make(mlp)
    pruned = prune_channels(net, example, fraction=0.5, round_to=8)
    for before, after in pruned.channels.values():
        assert after % 8 == 0 or after == before
    assert pruned.fraction > 0.3


class Row(nn.Module):
    """Four layers in a row, the first two with norms; `tie` may have parts share something."""

    def __init__(self, tie) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 12), nn.Linear(12, 12)
        self.n, self.m = nn.BatchNorm1d(12), nn.BatchNorm1d(12)
        self.c, self.d = nn.Linear(12, 12), nn.Linear(12, 3)
        tie(self)

    def forward(self, x):
        x = F.relu(self.m(self.b(F.relu(self.n(self.a(x))))))
        return self.d(F.relu(self.c(x)))


@pytest.mark.parametrize(
    "tie",
    [
        lambda net: setattr(net.b, "bias", net.a.bias),
        lambda net: setattr(net.m, "weight", net.n.weight),
        lambda net: setattr(net.m, "bias", net.n.bias),
    ],
)
def test_layers_that_share_a_parameter_stay_whole(tie):
    torch.manual_seed(0)
    net = Row(tie).eval()
    pruned = prune_channels(net, torch.randn(4, 8), fraction=0.2)
    widths = {name: kept for name, (_, kept) in pruned.channels.items()}
    assert set(widths) == {"c"} and widths["c"] < 12
    assert all("is tied to a weight" in pruned.kept[name] for name in "ab")


def test_layers_before_one_that_is_not_followed_stay_whole():
    net = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.GRU(12, 12))
    with pytest.raises(ArgumentError, match=r'"0": .* in a way that cannot be followed'):
        prune_channels(net, torch.randn(4, 8), fraction=0.3)
