"""Modules whose weights are decoded for the layer that runs: the same bits, less memory."""

from __future__ import annotations

import copy
import pickle
import threading

import pytest

import taut
from taut.container import Origin, Writer
from taut.encoding.model import fill, resolve_plan
from taut.errors import ArgumentError, VerifyError
from taut.io import open_source
from taut.io.tensor_info import TensorInfo
from taut.loading.on_demand.absent import Absent

torch = pytest.importorskip("torch")
nn = torch.nn

# Nested tensors are a prototype to torch, which warns of it.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


class Tied(nn.Module):
    """A word embedding that is the output layer's weight, too."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(300, 96)
        self.twice = nn.Linear(96, 200)
        self.back = nn.Linear(200, 96)
        self.norm = nn.LayerNorm(96)
        self.head = nn.Linear(96, 300, bias=False)
        self.head.weight = self.words.weight

    def forward(self, ids):
        states = self.words(ids)
        for _ in range(2):
            states = self.norm(states + self.back(torch.relu(self.twice(states))))
        return self.head(states)


class Borrowed(Tied):
    """The same, reading the weight of a layer that it does not run."""

    def forward(self, ids):
        states = self.back(self.twice(self.words(ids)))
        return nn.functional.linear(states, self.words.weight)


class Own(nn.Module):
    """A large parameter that no known layer holds, beside layers of many kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.bare = nn.Parameter(torch.randn(160, 160))
        self.conv = nn.Conv1d(160, 160, 3, padding=1)
        self.turn = nn.ConvTranspose1d(160, 160, 3, padding=1)
        self.rnn = nn.LSTM(160, 80, batch_first=True)
        self.normed = nn.utils.parametrizations.weight_norm(nn.Linear(80, 300))

    def forward(self, x):
        x = (x @ self.bare).transpose(1, 2)
        x = self.turn(torch.relu(self.conv(x))).transpose(1, 2)
        return self.normed(self.rnn(x)[0])


IDS = torch.arange(40).reshape(4, 10)
FLOATS = torch.linspace(-1, 1, 2 * 6 * 160).reshape(2, 6, 160)


def encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(160, 4, 320, batch_first=True)
    return nn.TransformerEncoder(layer, 2)


def decoder() -> nn.Module:
    return nn.TransformerDecoderLayer(160, 4, 320, batch_first=True)


def chain() -> nn.Module:
    return nn.Sequential(*(nn.Linear(160, 160) for _ in range(6)))


def saved(make, folder, seed=0):
    """A module with its weights, and the path of its file."""
    torch.manual_seed(seed)
    module = make().eval()
    return module, taut.compress(module, folder / f"{make.__name__}-{seed}").path


def on_demand(make, path, device="cpu"):
    torch.manual_seed(99)
    with torch.device(device):
        module = make().eval()
    return taut.load(path, into=module, on_demand=True)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize(
    ("make", "given"),
    [
        (Tied, (IDS,)),
        (Borrowed, (IDS,)),
        (Own, (FLOATS,)),
        (encoder, (FLOATS,)),
        (decoder, (FLOATS, FLOATS)),
    ],
)
def test_every_pass_gives_the_bits_of_the_loaded_module(make, given, context, tmp_path):
    loaded, path = saved(make, tmp_path)
    loaded.requires_grad_(False)
    module = on_demand(make, path)
    with context():
        for _ in range(3):
            assert torch.equal(module(*given), loaded(*given))
    stats = module.taut.stats
    assert stats.weights > 0
    state = module.state_dict()
    assert state.keys() == loaded.state_dict().keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in loaded.state_dict().items())


def test_only_padded_sentences_take_the_path_of_nested_tensors(tmp_path):
    loaded, path = saved(encoder, tmp_path)
    padding = torch.tensor([[False] * 6, [False] * 4 + [True] * 2])
    with torch.no_grad():
        wanted = loaded(FLOATS, src_key_padding_mask=padding)
        assert torch.equal(on_demand(encoder, path)(FLOATS, src_key_padding_mask=padding), wanted)


def test_no_more_than_two_layers_are_ever_decoded(tmp_path):
    _, path = saved(chain, tmp_path)
    module = on_demand(chain, path, device="meta")
    for _ in range(3):
        module(FLOATS)
    stats = module.taut.stats
    layer = 160 * 160 * 4
    assert (stats.weights, stats.on_demand) == (6, 6 * layer)
    assert stats.loaded == 6 * 160 * 4  # the biases
    assert stats.pool_peak <= 2 * layer
    assert stats.outside == 0


def test_what_stays_loaded_is_told_and_what_is_used_elsewhere_is_counted(tmp_path):
    own, path = saved(Own, tmp_path)
    stats = on_demand(Own, path).taut.stats
    assert stats.weights == 2  # the convolutions
    total = sum(tensor.nbytes for tensor in own.state_dict().values())
    assert stats.loaded + stats.on_demand == total
    _, path = saved(Borrowed, tmp_path)
    module = on_demand(Borrowed, path)
    module(IDS)
    assert module.taut.stats.outside == 1


def test_a_learnt_order_replaces_the_order_of_the_definition(tmp_path):
    class Backwards(nn.Sequential):
        def forward(self, x):
            for layer in reversed(self):
                x = layer(x)
            return x

    def backwards():
        return Backwards(*(nn.Linear(160, 160) for _ in range(4)))

    loaded, path = saved(backwards, tmp_path)
    module = on_demand(backwards, path)
    first = module(FLOATS)
    handle = module.taut
    layers = list(module)
    assert [handle.following(layer) for layer in layers] == [None, *layers[:3]]
    assert torch.equal(module(FLOATS), first)
    assert torch.equal(first, loaded(FLOATS))


def test_threads_may_run_one_module_at_once(tmp_path):
    loaded, path = saved(Tied, tmp_path)
    module = on_demand(Tied, path)
    inputs = [torch.randint(300, (3, 20)) for _ in range(4)]
    wanted = [loaded(one) for one in inputs]
    wrong = []

    def work(number):
        for _ in range(12):
            with torch.no_grad():
                if not torch.equal(module(inputs[number]), wanted[number]):
                    wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert module.taut.stats.pool <= 4 * 300 * 96 * 4


def test_a_pruned_file_makes_the_layers_small_first(tmp_path):
    net = nn.Sequential(nn.Linear(200, 400), nn.ReLU(), nn.Linear(400, 200)).eval()
    small = nn.Sequential(nn.Linear(200, 150), nn.ReLU(), nn.Linear(150, 200)).eval()
    source = open_source({n: t.numpy() for n, t in small.state_dict().items()})
    modules = {"0": {"out_features": 150}, "2": {"in_features": 150}}
    path = tmp_path / "small.taut.safetensors"
    with Writer(path, Origin(source.nbytes, modules=modules), source.infos) as writer:
        fill(writer.layout, source, resolve_plan(source, None), effort="fast", threads=1)
        writer.finish()
    module = taut.load(path, into=net, on_demand=True)
    assert (module[0].out_features, tuple(module[2].weight.shape)) == (150, (200, 150))
    x = torch.randn(3, 200)
    assert torch.equal(module(x), small(x))


def test_release_leaves_an_ordinary_module(tmp_path):
    loaded, path = saved(Tied, tmp_path)
    module = on_demand(Tied, path)
    module(IDS)
    assert module.taut.release() is module
    assert not hasattr(module, "taut")
    assert module.head.weight is module.words.weight
    assert all(type(p) is nn.Parameter and p.requires_grad for p in module.parameters())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
    assert torch.equal(copy.deepcopy(module)(IDS), loaded(IDS))


def test_damage_is_found_when_the_layer_runs_and_passes_by_when_it_is_undone(tmp_path):
    loaded, path = saved(chain, tmp_path)
    good = bytearray(path.read_bytes())
    entry = taut.load(path).contents.places["3.weight"].entry
    bad = bytearray(good)
    bad[entry.start + entry.nbytes // 2] ^= 1
    path.write_bytes(bad)
    module = on_demand(chain, path)
    for _ in range(2):
        with pytest.raises(VerifyError, match=r'"3\.weight"'):
            module(FLOATS)
    with pytest.raises(VerifyError):
        module.taut.release()
    with path.open("r+b") as file:  # the same file, which is mapped
        file.write(good)
    assert torch.equal(module(FLOATS), loaded(FLOATS))


@pytest.mark.parametrize(
    ("misuse", "message"),
    [
        (lambda m: m.half(), "cannot move or change its dtype"),
        (lambda m: m.to(torch.float64), "cannot move or change its dtype"),
        (lambda m: m.requires_grad_(True), "cannot have gradients"),
        (copy.deepcopy, "cannot be copied"),
        (pickle.dumps, "cannot be pickled"),
        (lambda m: m.train()(FLOATS), "cannot be trained"),
        (lambda m: m(FLOATS.clone().requires_grad_()), "gives no gradients"),
        (lambda m: nn.init.zeros_(m[0].weight), "would change it"),
    ],
)
def test_what_cannot_be_is_an_error_and_harms_nothing(misuse, message, tmp_path):
    loaded, path = saved(chain, tmp_path)
    module = on_demand(chain, path)
    with pytest.raises(ArgumentError, match=message):
        misuse(module)
    assert torch.equal(module.eval()(FLOATS), loaded(FLOATS))
    assert module.to("cpu").float() is module


def test_on_demand_needs_a_module_that_fits(tmp_path):
    _, path = saved(chain, tmp_path)
    with pytest.raises(ArgumentError, match="release"):
        taut.load(path, into=on_demand(chain, path))
    with pytest.raises(ArgumentError, match="on_demand needs a module"):
        taut.load(path, on_demand=True)
    with pytest.raises(ArgumentError, match=r'"5\.weight" is not in the module'):
        taut.load(path, into=chain()[:5], on_demand=True)
    with torch.device("meta"):
        norm = nn.Sequential(nn.Linear(160, 160))
        norm.register_buffer("made", torch.zeros(3), persistent=False)
    path = taut.compress(nn.Sequential(nn.Linear(160, 160)), tmp_path / "one").path
    with pytest.raises(ArgumentError, match="buffers on the CPU"):
        taut.load(path, into=norm, on_demand=True)


def test_an_error_inside_a_layer_gives_its_weight_back(tmp_path):
    _, path = saved(chain, tmp_path)
    module = on_demand(chain, path)
    for _ in range(3):
        with pytest.raises(RuntimeError):
            module(torch.zeros(2, 7))
    assert module.taut.stats.pool <= 2 * 160 * 160 * 4
    assert isinstance(module[0].weight, Absent)


class Wordy(nn.Module):
    """A word embedding of several chunks, and layers behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(9000, 64, padding_idx=0)
        self.layers = chain_of(64)

    def forward(self, ids):
        return self.layers(self.words(ids))


def chain_of(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, 300), nn.Linear(300, 300), nn.Linear(300, width))


TEXT = torch.tensor([[5, 8999, 5, 0], [4000, 17, 8999, 1]])
TABLE = 9000 * 64 * 4
LAYERS = 300 * 300 * 4 + 2 * 64 * 300 * 4


@pytest.mark.parametrize("cache", [None, "100kB", "700kB", "1GB"])
def test_rows_and_kept_weights_give_the_same_bits(cache, tmp_path):
    loaded, path = saved(Wordy, tmp_path)
    module = taut.load(path, into=Wordy().eval(), on_demand=True, cache=cache)
    texts = [
        TEXT,
        TEXT.int(),
        (TEXT + 40) % 9000,
        torch.arange(9000)[None],
        torch.tensor([], dtype=int),
    ]
    with torch.no_grad():
        for ids in (*texts, *texts):
            assert torch.equal(module(ids), loaded(ids))
    stats = module.taut.stats
    assert stats.kept <= {None: 0, "100kB": 100_000, "700kB": 700_000, "1GB": 10**9}[cache]
    if cache == "700kB":  # all layers, and some rows
        assert stats.kept > LAYERS
    if cache == "1GB":
        assert (stats.kept, stats.decoded) == (TABLE + LAYERS, 4)
    with pytest.raises(IndexError), torch.no_grad():
        module(torch.tensor([9000]))
    ordinary = module.taut.release()
    assert torch.equal(copy.deepcopy(ordinary)(TEXT), loaded(TEXT))
    assert "forward" not in vars(ordinary.words)


def test_an_embedding_is_not_decoded_whole_for_a_few_words(tmp_path):
    _, path = saved(Wordy, tmp_path)
    module = taut.load(path, into=Wordy().eval(), on_demand=True)
    module(TEXT)
    assert module.taut.stats.pool_peak < TABLE
    module(torch.arange(9000)[None])
    assert module.taut.stats.pool_peak >= TABLE


def test_a_weight_that_others_read_meanwhile_is_whole(tmp_path):
    loaded, path = saved(Wordy, tmp_path)
    module = taut.load(path, into=Wordy().eval(), on_demand=True)
    seen = []
    module.words.register_forward_hook(lambda layer, *_: seen.append(layer.weight.sum()))
    module(TEXT)
    assert torch.equal(seen[0], loaded.words.weight.sum())


def test_kept_weights_cannot_be_written_to(tmp_path):
    loaded, path = saved(chain, tmp_path)
    module = taut.load(path, into=chain().eval(), on_demand=True, cache="1GB")
    for _ in range(2):
        assert torch.equal(module(FLOATS), loaded(FLOATS))
        with pytest.raises(ArgumentError, match="would change it"):
            nn.init.zeros_(module[0].weight)


def test_threads_share_what_is_kept(tmp_path):
    loaded, path = saved(Wordy, tmp_path)
    module = taut.load(path, into=Wordy().eval(), on_demand=True, cache="500kB")
    inputs = [torch.randint(9000, (3, 20)) for _ in range(4)]
    with torch.no_grad():
        wanted = [loaded(one) for one in inputs]
    wrong = []

    def work(number):
        for _ in range(8):
            with torch.no_grad():
                if not torch.equal(module(inputs[number]), wanted[number]):
                    wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert module.taut.stats.kept <= 500_000


def test_damage_in_an_embedding_is_met_by_those_who_ask_for_its_rows(tmp_path):
    loaded, path = saved(Wordy, tmp_path)
    entry = taut.load(path).contents.places["words.weight"].entry
    data = bytearray(path.read_bytes())
    data[entry.start + entry.nbytes - 100] ^= 1  # the last chunk
    path.write_bytes(data)
    module = taut.load(path, into=Wordy().eval(), on_demand=True)
    few = torch.tensor([[3, 4]])
    assert torch.equal(module(few), loaded(few))
    with pytest.raises(VerifyError, match=r'"words\.weight"'):
        module(TEXT)
    assert torch.equal(module(few), loaded(few))


@pytest.mark.parametrize("cache", ["", "much", "-5MB", 0, -1, 2.5e-9, True, "nan", "1e9"])
def test_a_cache_that_is_no_size_is_refused_before_anything_is_read(cache, tmp_path):
    with pytest.raises(ArgumentError, match=r"cache: .* is no size in bytes"):
        taut.load(tmp_path / "none", into=chain(), on_demand=True, cache=cache)


def test_a_cache_is_for_loading_on_demand(tmp_path):
    _, path = saved(chain, tmp_path)
    with pytest.raises(ArgumentError, match="cache is for on_demand"):
        taut.load(path, into=chain(), cache="1GB")


def test_an_embedding_that_was_given_another_weight_or_a_mask_uses_that(tmp_path):
    loaded, path = saved(Wordy, tmp_path)
    module = taut.load(path, into=Wordy().eval(), on_demand=True)
    prune = pytest.importorskip("torch.nn.utils.prune")
    mask = (torch.arange(9000 * 64) % 3 == 0).reshape(9000, 64)
    for net in (loaded, module):
        prune.custom_from_mask(net.words, "weight", mask)
    with torch.no_grad():
        assert torch.equal(module(TEXT), loaded(TEXT))
    module = taut.load(path, into=Wordy().eval(), on_demand=True)
    module.words.weight = nn.Parameter(torch.ones(9000, 64), requires_grad=False)
    with torch.no_grad():
        assert torch.equal(module.words(TEXT), torch.ones(2, 4, 64))


def test_numbers_that_another_hook_changes_are_looked_up_as_changed(tmp_path):
    loaded, path = saved(Wordy, tmp_path)
    module = taut.load(path, into=Wordy().eval(), on_demand=True)
    for net in (loaded, module):
        net.words.register_forward_pre_hook(lambda layer, args: (torch.arange(8000)[None],))
    with torch.no_grad():
        assert torch.equal(module(TEXT), loaded(TEXT))
    assert module.taut.stats.outside == 0


NEAR_LAYERS = 300 * 300 + 2 * 64 * 300  # a byte each


@pytest.mark.parametrize("effort", ["fast", "max"])
@pytest.mark.parametrize("cache", ["80kB", "140kB", "400kB", "900kB"])
def test_rounded_weights_are_kept_as_integers_and_give_the_same_bits(cache, effort, tmp_path):
    torch.manual_seed(0)
    path = taut.compress(Wordy().eval(), tmp_path / "rounded", bits=4, effort=effort).path
    loaded = taut.load(path, into=Wordy().eval())
    module = taut.load(path, into=Wordy().eval(), on_demand=True, cache=cache)
    texts = [TEXT, (TEXT + 40) % 9000, torch.arange(9000)[None]]
    with torch.no_grad():
        for ids in (*texts, *texts):
            assert torch.equal(module(ids), loaded(ids))
        stats = module.taut.stats
        assert 0 < stats.narrow <= stats.kept <= 1000 * int(cache[:-2])
        assert torch.equal(module.layers[1].weight + 0, loaded.layers[1].weight)
        for ids in texts:
            module(ids)
    if cache != "80kB":  # all layers; with the most memory the words as well
        assert stats.narrow >= NEAR_LAYERS
    if cache == "900kB":
        assert stats.narrow >= NEAR_LAYERS + 9000 * 64
        assert module.taut.stats.decoded == stats.decoded
        assert stats.kept == stats.narrow
    assert torch.equal(copy.deepcopy(module.taut.release())(TEXT), loaded(TEXT))


def test_integers_that_no_byte_holds_are_decoded_each_time(tmp_path):
    net = chain()
    with torch.no_grad():
        for layer in net:
            layer.weight.copy_(torch.randint(-3000, 3000, (160, 160)).float() / 1000)
    path = taut.compress(net, tmp_path / "wide", bits=11).path
    loaded = taut.load(path, into=chain().eval())
    module = taut.load(path, into=chain().eval(), on_demand=True, cache="250kB")
    for _ in range(2):
        assert torch.equal(module(FLOATS), loaded(FLOATS))
    stats = module.taut.stats
    assert (stats.narrow, stats.kept) == (0, 2 * 160 * 160 * 4)


def test_a_layer_farther_on_is_decoded_while_near_ones_run(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(160, 160), nn.Linear(160, 160), nn.Linear(160, 160)).eval()
    path = taut.compress(net, tmp_path / "three").path
    module = taut.load(path, into=net, on_demand=True, cache=2 * 160 * 160 * 4)
    for _ in range(2):
        module(FLOATS)
    handle = module.taut
    assert [bool(handle._next_to_decode(layer)) for layer in module] == [True, True, False]


@pytest.mark.parametrize(("dtype", "near"), [("bfloat16", 2**-8), ("int8", 1 / 127)])
def test_a_cache_of_fewer_bits_holds_more_and_rounds(dtype, near, tmp_path):
    loaded, path = saved(Wordy, tmp_path)
    room = {"bfloat16": (TABLE + LAYERS) // 2, "int8": (TABLE + LAYERS) // 4 + 50_000}[dtype]
    module = taut.load(path, into=Wordy().eval(), on_demand=True, cache=room, cache_dtype=dtype)
    texts = [TEXT, (TEXT + 40) % 9000, torch.arange(9000)[None]]
    with torch.no_grad():
        given = [module(ids) for ids in texts]
        decoded = module.taut.stats.decoded
        for ids, one in zip(texts, given, strict=True):
            assert torch.equal(module(ids), one)  # the first pass was rounded, too
            wanted = loaded(ids)
            assert not torch.equal(one, wanted)
            assert (one - wanted).abs().max() <= 4 * near * wanted.abs().max()
    stats = module.taut.stats
    assert stats.decoded == decoded  # nothing is decoded twice
    assert 0.9 * room - 50_000 < stats.narrow == stats.kept <= room
    assert torch.equal(module.taut.release()(TEXT), loaded(TEXT))  # the file's own values


def test_rows_are_rounded_by_scales_of_their_own():
    from taut.loading.on_demand.rounded_rows import RoundedReader

    values = torch.tensor([[100.0, -40.0, 0.1], [0.004, 0.0, -0.02], [0.0, 0.0, 0.0]])

    class Rows:
        def span(self, name, begin, end):
            return values.reshape(-1)[begin:end].numpy()

    info = TensorInfo("w", "F32", (3, 3), 36)
    held = RoundedReader(Rows(), info, "int8").hold()
    out = torch.empty(3, 3)
    held.read(0, out.numpy().reshape(-1).view("u1"))
    assert held.nbytes == RoundedReader(Rows(), info, "int8").nbytes == 9 + 12
    wanted = torch.tensor([[127.0, -51, 0], [25, 0, -127], [0, 0, 0]])
    torch.testing.assert_close(out, wanted * torch.tensor([[100.0], [0.02], [0.0]]) / 127)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"cache_dtype": "int8"}, "of what is kept"),
        ({"cache": "1MB", "cache_dtype": "int4"}, "none of"),
        ({"cache": "1MB", "cache_dtype": 8}, "none of"),
    ],
)
def test_a_dtype_that_nothing_is_kept_in_is_refused(asked, message, tmp_path):
    with pytest.raises(ArgumentError, match=message):
        taut.load(tmp_path / "none", into=chain(), on_demand=True, **asked)
