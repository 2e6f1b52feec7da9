"""The verb load: numpy, torch, and into a module."""

from __future__ import annotations

import copy

import ml_dtypes
import numpy as np
import pytest

import taut
from taut.container import Origin, TautFile, Writer
from taut.encoding.model import fill, resolve_plan
from taut.errors import ArgumentError, VerifyError
from taut.io import SAFETENSORS_DTYPES, open_source
from taut.loading.arrays import to_torch

torch = pytest.importorskip("torch")


@pytest.fixture
def net():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(64, 128), torch.nn.BatchNorm1d(128), torch.nn.Linear(128, 8)
    )


def equal(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    states = (first.state_dict(), second.state_dict())
    return states[0].keys() == states[1].keys() and all(
        torch.equal(tensor, states[1][name]) for name, tensor in states[0].items()
    )


def test_a_module_comes_back_in_place(net, tmp_path):
    path = taut.compress(net, tmp_path / "n.taut.safetensors").path
    other = copy.deepcopy(net)
    with torch.no_grad():
        for tensor in other.state_dict().values():
            tensor.zero_()
    places = [tensor.data_ptr() for tensor in other.state_dict().values()]
    assert taut.load(path, into=other) is other
    assert equal(net, other)
    assert [tensor.data_ptr() for tensor in other.state_dict().values()] == places


@pytest.mark.parametrize("dtype", list(SAFETENSORS_DTYPES))
def test_every_dtype_becomes_torchs_own(tmp_path, rng, dtype):
    kind = SAFETENSORS_DTYPES[dtype]
    values = rng.integers(0, 2, 30 * kind.itemsize, dtype=np.uint8).view(kind).reshape(5, 6)
    path = taut.compress({"w": values, "s": values[0, 0].reshape(())}, tmp_path / "w").path
    for tensors in (taut.load(path, framework="torch"), taut.load(path, framework="torch").load_all()):  # fmt: skip  # noqa: E501
        assert tensors["w"].shape == (5, 6)
        assert tensors["s"].shape == ()
        assert tensors["w"].dtype == to_torch(values, dtype).dtype
        raw = tensors["w"].contiguous().reshape(-1).view(torch.uint8).numpy()
        assert raw.tobytes() == values.tobytes()
    again = taut.compress(taut.load(path, framework="torch").load_all(), tmp_path / "v").path
    assert taut.load(again).infos == taut.load(path).infos


def test_torch_tensors_are_lazy_and_in_order(net, tmp_path):
    path = taut.compress(net, tmp_path / "n").path
    tensors = taut.load(path, framework="torch")
    assert list(tensors) == list(net.state_dict())
    for name, tensor in tensors.tensors():
        assert torch.equal(tensor, net.state_dict()[name])
    with pytest.raises(ArgumentError, match=r"nearest: 0\.weight"):
        tensors["0.wieght"]
    assert tensors.get("0.wieght") is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda n: n.append(torch.nn.Linear(8, 2)), r'"3.weight" is missing in the file'),
        (lambda n: n.__delitem__(2), r'"2.weight" is not in the module'),
        (
            lambda n: n.__setitem__(2, torch.nn.Linear(128, 9)),
            r'"2.weight" is \[8, 128\] in the file, \[9, 128\] in the module; "2.bias" is \[8\]',
        ),
        (
            lambda n: n[0].half(),
            r'"0.weight" is float32 in the file, float16 in the module: module.to\(torch.float32',
        ),
        (lambda n: n[0].to("meta"), r'"0.weight" has no memory \(meta device\)'),
    ],
)
def test_a_module_that_does_not_fit_is_told_why_and_left_alone(net, tmp_path, change, message):
    path = taut.compress(net, tmp_path / "n").path
    other = copy.deepcopy(net)
    change(other)
    before = copy.deepcopy(other)
    with pytest.raises(ArgumentError, match=message):
        taut.load(path, into=other)
    if "meta" not in message:
        assert equal(before, other)


WIDTHS = {"0": {"out_features": 100}, "1": {"num_features": 100}, "2": {"in_features": 100}}


@pytest.fixture
def pruned(net):
    """The net without its last 28 hidden units."""
    small = copy.deepcopy(net)
    small[0], small[1] = torch.nn.Linear(64, 100), torch.nn.BatchNorm1d(100)
    small[2] = torch.nn.Linear(100, 8)
    torch.nn.init.uniform_(small[1].running_mean)
    return small


def write(module, path, modules):
    """The module's Taut file, which says what was pruned."""
    source = open_source(module)
    with Writer(path, Origin(source.nbytes, modules=modules), source.infos) as writer:
        fill(writer.layout, source, resolve_plan(source, None), effort="fast", threads=1)
        writer.finish()
    return path


def test_a_pruned_file_makes_its_class_fit(net, pruned, tmp_path):
    path = write(pruned, tmp_path / "p", WIDTHS)
    assert taut.load(path, into=net) is net
    assert equal(net, pruned)
    assert str(net) == str(pruned)
    batch = torch.randn(4, 64)
    assert torch.equal(net.eval()(batch), pruned.eval()(batch))
    assert equal(taut.load(path, into=copy.deepcopy(pruned)), pruned)  # it may be small already


def test_counts_of_batch_norms_may_be_missing_as_in_old_checkpoints(tmp_path):
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(40, 40), torch.nn.BatchNorm1d(40))
    tensors = {n: t.numpy() for n, t in module.state_dict().items() if "num_batches" not in n}
    taut.compress(tensors, tmp_path / "f")
    other = torch.nn.Sequential(torch.nn.Linear(40, 40), torch.nn.BatchNorm1d(40))
    taut.load(tmp_path / "f", into=other)
    assert torch.equal(other[0].weight, module[0].weight)
    assert other[1].num_batches_tracked == 0


@pytest.mark.parametrize(
    ("modules", "change", "message"),
    [
        ({}, lambda n: None, r'"0.weight" is \[100, 64\] in the file, \[128, 64\] in the module'),
        ({"9": {"out_features": 1}}, lambda n: None, 'has no module "9"'),
        (WIDTHS, lambda n: n[0].half(), r'"0.weight" is float32 in the file, float16'),
        (WIDTHS, lambda n: n.append(torch.nn.Linear(8, 2)), '"3.weight" is missing in the file'),
    ],
)
def test_a_pruned_file_that_does_not_fit_changes_nothing(
    net, pruned, tmp_path, modules, change, message
):
    path = write(pruned, tmp_path / "p", modules)
    change(net)
    before = copy.deepcopy(net)
    with pytest.raises(ArgumentError, match=message):
        taut.load(path, into=net)
    assert equal(net, before)
    assert str(net) == str(before)


def test_a_damaged_pruned_file_leaves_the_module_alone(net, pruned, tmp_path):
    path = write(pruned, tmp_path / "p", WIDTHS)
    data = bytearray(path.read_bytes())
    place = TautFile(path).contents.places["0.weight"]
    data[place.entry.stop - 20] ^= 1
    path.write_bytes(data)
    before = copy.deepcopy(net)
    with pytest.raises(VerifyError, match=r'"0\.weight"'):
        taut.load(path, into=net)
    assert equal(net, before)
    assert str(net) == str(before)


def test_a_damaged_file_leaves_the_module_alone(net, tmp_path):
    path = taut.compress(net, tmp_path / "n").path
    data = bytearray(path.read_bytes())
    place = TautFile(path).contents.places["0.weight"]
    data[place.entry.stop - 20] ^= 1
    path.write_bytes(data)
    other = copy.deepcopy(net)
    torch.nn.init.ones_(other[0].weight)
    before = copy.deepcopy(other)
    with pytest.raises(VerifyError, match=r'"0\.weight"'):
        taut.load(path, into=other)
    assert equal(before, other)


def test_tied_weights_that_safetensors_dropped_are_found_by_their_memory(tmp_path):
    class Tied(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(500, 16)
            self.head = torch.nn.Linear(16, 500, bias=False)
            self.head.weight = self.embedding.weight

    net, other = Tied(), Tied()
    weight = net.embedding.weight.detach().numpy()
    path = taut.compress({"embedding.weight": weight}, tmp_path / "t").path
    assert equal(taut.load(path, into=other), net)
    assert other.head.weight is other.embedding.weight
    assert equal(taut.load(taut.compress(net, tmp_path / "u").path, into=other), net)


@pytest.mark.parametrize("asked", [{}, {"calib": [torch.ones(4, 32)] * 4, "bits": 6}])
def test_expanded_tensors_get_memory_of_their_own(asked, tmp_path):
    class Expanded(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(32, 32)
            self.register_buffer("rows", torch.ones(1, 32).expand(32, 32))
            self.columns = torch.nn.Parameter(torch.ones(32, 1).expand(32, 32))

        def forward(self, x):
            return self.layer(x) @ self.rows @ self.columns

    net = Expanded()
    path = taut.compress(net, tmp_path / "e", **asked).path
    assert net.rows.stride() == (0, 1)
    assert taut.load(path, into=net).rows.mean().item() == pytest.approx(1.0, abs=0.2)


def test_two_values_for_one_tensor_are_refused_and_change_nothing(tmp_path):
    plain = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
    path = taut.compress(plain, tmp_path / "t").path
    tied = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
    tied[1].bias = tied[0].bias
    before = [one.clone() for one in tied.state_dict().values()]
    with pytest.raises(ArgumentError, match=r'"0.bias" and "1.bias" are one tensor in Sequential'):
        taut.load(path, into=tied)
    assert all(map(torch.equal, before, tied.state_dict().values()))
    plain[1].bias.data = plain[0].bias.data.clone()  # two of equal values are as one
    taut.load(taut.compress(plain, path, force=True).path, into=tied)


def test_a_buffer_that_is_no_longer_saved_may_still_be_in_the_file(tmp_path):
    net = torch.nn.Linear(3, 3)
    net.register_buffer("positions", torch.arange(4), persistent=False)
    arrays = {name: tensor.numpy() for name, tensor in net.state_dict().items()}
    path = taut.compress({**arrays, "positions": np.arange(4) + 5}, tmp_path / "b").path
    assert taut.load(path, into=net).positions.tolist() == [5, 6, 7, 8]


def test_bfloat16_modules_keep_their_bits(tmp_path):
    net = torch.nn.Linear(200, 100).to(torch.bfloat16)
    path = taut.compress(net, tmp_path / "n").path
    assert taut.load(path)["weight"].dtype == ml_dtypes.bfloat16
    other = torch.nn.Linear(200, 100).to(torch.bfloat16)
    assert equal(taut.load(path, into=other), net)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"framework": "jax"}, "framework 'jax' is unknown"),
        ({"into": {}}, "a dict is no torch.nn.Module"),
        ({"threads": -1}, "threads: -1"),
    ],
)
def test_bad_arguments_are_named(net, tmp_path, arguments, message):
    path = taut.compress(net, tmp_path / "n").path
    with pytest.raises(ArgumentError, match=message):
        taut.load(path, **arguments)


def test_a_hundred_tensors_take_a_few_calls_each(tmp_path, rng, count_calls):
    arrays = {f"layer.{i}.weight": rng.standard_normal(5000).astype(np.float32) for i in range(100)}
    path = taut.compress(arrays, tmp_path / "h").path
    assert count_calls(lambda: taut.load(path, threads=1).load_all()) < 400 * 100  # half of it
