"""What exports to phones and boards share: norms folded, single samples, own integers, bounds."""

import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import taut  # noqa: E402
from taut.errors import ArgumentError, VerifyError  # noqa: E402
from taut.exporting.device.as_module import answering_module  # noqa: E402
from taut.exporting.device.device_form import DeviceForm, float_notes  # noqa: E402
from taut.exporting.device.folded_program import folded_program  # noqa: E402
from taut.exporting.device.single_samples import cut_samples, single_samples  # noqa: E402
from taut.exporting.device.weight_grid import weight_grid  # noqa: E402
from taut.exporting.held_against import WrittenModel  # noqa: E402
from taut.exporting.result import Check  # noqa: E402


class Normed(torch.nn.Module):
    """A norm after every kind of layer that one goes into, and some that stay."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3, bias=False)
        self.depthwise = torch.nn.Conv1d(8, 8, 3, padding="same", groups=8)
        self.transposed = torch.nn.ConvTranspose1d(8, 4, 2)
        self.grouped = torch.nn.ConvTranspose1d(4, 4, 1, groups=2)
        self.linear = torch.nn.Linear(10, 6)
        norms = (torch.nn.BatchNorm2d(8), *(torch.nn.BatchNorm1d(n) for n in (8, 4, 4, 4, 6)))
        self.norms = torch.nn.ModuleList(norms)
        for norm in self.norms:
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
            torch.nn.init.normal_(norm.weight)
            torch.nn.init.normal_(norm.bias)

    def forward(self, x):
        of_conv, of_depthwise, of_transposed, of_grouped, before, of_linear = self.norms
        x = torch.relu(of_conv(self.conv(x))).flatten(2)
        x = of_transposed(self.transposed(of_depthwise(self.depthwise(x))))
        x = torch.relu(of_grouped(self.grouped(x)))
        return {"y": of_linear(self.linear(before(x)[:, 0, :10])), "x": x}


def norms_of(graph):
    return [node for node in graph.graph.nodes if "batch_norm" in str(node.target)]


def test_norms_go_into_layers_of_every_kind_and_no_answer_changes():
    torch.manual_seed(0)
    net, x = Normed().eval(), torch.randn(2, 3, 8, 8)
    before = {name: one.clone() for name, one in net.state_dict().items()}
    folded = folded_program(net, x)
    # that after a transposed convolution in groups, and that after a Relu, go into nothing
    assert folded.norms == 4 and len(norms_of(folded.module)) == 2
    found = folded.module(x)
    for one, wanted in zip(found, net(x).values(), strict=True):
        assert torch.allclose(one, wanted, atol=1e-5)
    assert all(torch.equal(one, before[name]) for name, one in net.state_dict().items())


def test_a_norm_changes_the_scales_of_a_grid_and_its_integers_keep():
    torch.manual_seed(1)
    net = torch.nn.Sequential(torch.nn.Conv2d(4, 8, 3, bias=False), torch.nn.BatchNorm2d(8)).eval()
    q = torch.randint(-126, 127, (8, 4, 3, 3))
    q.reshape(8, -1)[:, 0], q.reshape(8, -1)[:, 1] = 127, 126  # neighbours: no common divisor
    net[0].weight.data = q * torch.rand(8, 1, 1, 1)
    net[1].running_var.uniform_(0.5, 2)
    torch.nn.init.normal_(net[1].weight)
    folded = folded_program(net, torch.randn(1, 4, 6, 6))
    weight = next(one for one in folded.constants() if one.ndim == 4)
    grid = weight_grid(weight.numpy(), 0)
    signs = np.sign(net[1].weight.detach().numpy()).astype(np.int8).reshape(-1, 1, 1, 1)
    assert grid.own and (grid.values == q.numpy() * signs).all()


def test_a_layer_that_two_take_keeps_its_norm():
    class Shared(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4)
            self.norm.running_mean.fill_(0.5)

        def forward(self, x):
            found = self.conv(x)
            return self.norm(found) + found

    net, x = Shared().eval(), torch.randn(1, 3, 4, 4)
    folded = folded_program(net, x)
    assert folded.norms == 0 and torch.allclose(folded.module(x)[0], net(x), atol=1e-6)


def test_integers_lie_within_127_and_a_grid_with_128_is_rounded():
    values = np.arange(-128, 128, dtype=np.float32).reshape(1, -1) / 64
    grid = weight_grid(values, 0)
    assert not grid.own and (grid.values.min(), grid.values.max()) == (-127, 126)
    assert grid.scales.tolist() == [np.float32(2 / 127)]
    own = weight_grid(values[:, 1:], 0)
    assert own.own and own.values.min() == -127
    assert (own.values * own.scales == values[:, 1:]).all()
    zeros = weight_grid(np.zeros((2, 3), np.float32), 0)
    assert not zeros.values.any() and (zeros.scales > 0).all()


def test_batches_are_cut_into_samples_of_one_shape():
    net = torch.nn.Conv2d(1, 1, 1)
    found = single_samples(net, [torch.ones(3, 1, 4, 4), torch.ones(2, 1, 5, 5)])
    assert found.example.shape == (1, 1, 4, 4) and len(found.data) == 3
    assert any("2 of 5 samples have another shape" in note for note in found.notes)
    with pytest.raises(ArgumentError, match="gives no batch"):
        single_samples(net, [])
    with pytest.raises(
        ArgumentError, match=r"does not run on the example \(float32 \[3, 2, 4, 4\]"
    ):
        single_samples(net, [torch.ones(3, 2, 4, 4)])


def test_a_network_of_fixed_batches_keeps_them():
    class Pairs(torch.nn.Module):
        def forward(self, x):
            return x.reshape(2, 3)

    found = single_samples(Pairs(), [torch.ones(2, 3)])
    assert found.example.shape == (2, 3) and "takes batches of 2" in found.notes[0]


def test_texts_are_padded_to_one_length_that_the_network_has():
    class Tokens(torch.nn.Module):
        def __init__(self, positions):
            super().__init__()
            self.words = torch.nn.Embedding(9, 4)
            self.places = torch.nn.Embedding(positions, 4)

        def forward(self, input_ids, attention_mask):
            places = self.places(torch.arange(input_ids.shape[1]))
            return (self.words(input_ids) + places) * attention_mask[..., None]

    batches = [
        {name: torch.ones(2, length, dtype=torch.int64) for name in ("input_ids", "attention_mask")}
        for length in (5, 11)
    ]
    found = single_samples(Tokens(512), batches)
    assert found.example["input_ids"].shape == (1, 64) and len(found.data) == 4
    assert [int(one["attention_mask"].sum()) for one in found.data] == [5, 5, 11, 11]
    assert single_samples(Tokens(20), batches).example["input_ids"].shape == (1, 11)


@pytest.mark.parametrize(
    ("form", "check", "message"),
    [
        (DeviceForm("float32"), {"relative": 0.002}, "relative error of 0.002 in an output, above"),
        (DeviceForm("int8"), {"relative": 0.6}, "relative error of 0.6 in an output, above 0.5"),
        (DeviceForm("int8"), {"cosine": 0.8}, "cosine of 0.800 with the network's, below 0.9"),
        (DeviceForm("int8", max_error=0.1), {"of_range": 0.2}, "error of 0.2 .* above 0.1"),
        (DeviceForm("float16"), {"relative": 0.002}, None),
        (DeviceForm("int8"), {"relative": 0.4, "cosine": 0.95}, None),
        (DeviceForm("int8", max_error=0.3), {"of_range": 0.2, "cosine": 0.8}, None),
    ],
)
def test_answers_that_are_others_are_refused_with_the_figure(form, check, message):
    found = Check(
        **{"runtime": "it 1", "samples": 1, "max_error": 0, "rel_mse": 0, "cosine": 1} | check
    )
    written = WrittenModel("net.tflite", "it 1", lambda sample: [])
    if message is None:
        form.refuse_far(written, found)
        return
    with pytest.raises(VerifyError, match=f"net.tflite: it's answers have.* {message}"):
        form.refuse_far(written, found)


def test_a_written_model_answers_as_a_module_does_in_the_modules_own_form():
    class Two(torch.nn.Module):
        def forward(self, x):
            return {"sum": x.sum(1), "twice": 2 * x}

    net, x = Two().eval(), torch.randn(5, 3)
    calls = []

    def answers(sample):
        calls.append(sample)
        return [one.numpy() for one in net(sample).values()]

    module = answering_module(WrittenModel("x", "it 1", answers), net, x[:1])
    found = module(x)
    assert len(calls) == 5 and torch.equal(found["sum"], x.sum(1))
    assert torch.equal(found["twice"], 2 * x)
    assert len(list(cut_samples({"x": x, "n": torch.tensor(3)}))) == 5


def test_weights_that_stay_float_are_counted():
    assert float_notes([10, 20], 2) == ()
    assert "1 of 2 weights stay float" in float_notes([10, 20], 1)[0]


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [("x.tflite", "litert_torch", "litert"), ("x.pte", "executorch.exir", "executorch")],
)
def test_without_the_extra_an_error_names_what_to_install(
    tmp_path, monkeypatch, name, package, extra
):
    net = torch.nn.Linear(2, 2)
    taut.compress(net, tmp_path / "f.taut.safetensors")
    for one in ("ai_edge_litert.interpreter", "ai_edge_quantizer", package):
        monkeypatch.setitem(sys.modules, one, None)
    with pytest.raises(ArgumentError, match=rf"pip install 'taut\[{extra}\]'"):
        taut.export(
            tmp_path / "f.taut.safetensors", tmp_path / name, into=net, calib=[torch.ones(1, 2)]
        )
    assert [path.name for path in tmp_path.iterdir()] == ["f.taut.safetensors"]
