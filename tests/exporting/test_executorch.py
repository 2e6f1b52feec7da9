"""Networks as .pte files in ExecuTorch: their own integers, the same answers, what is refused."""

import pytest

pytest.importorskip(
    "executorch.exir",
    reason="executorch is not installed: make clients INSTALL=executorch runs this",
)
from tests.exporting.device_networks import batches, convolutions, in_a_file, refusals

import taut

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("activations", ["dynamic", "static"])
def test_scales_are_the_networks_own_and_answers_the_same(tmp_path, activations):
    net = convolutions()
    file = in_a_file(net, tmp_path)
    done = taut.export(file, tmp_path / "n.pte", into=net, calib=batches(), activations=activations)
    assert done.rounded == 0 and done.check.relative < 0.05
    assert done.check.runtime.startswith("ExecuTorch") and done.check.samples >= 24
    left = [note for note in done.notes if "stay float" in note]
    assert left == ([] if activations == "static" else [done.notes[1]])  # the one in groups
    plain = taut.export(file, tmp_path / "f.pte", into=net, calib=batches()[:1], weights="float32")
    assert plain.check.relative < 1e-5


def test_weights_that_are_on_no_grid_are_rounded_and_counted(tmp_path):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(6, 7), torch.nn.ReLU(), torch.nn.Linear(7, 3)).eval()
    given = [torch.randn(4, 6)]
    done = taut.export(in_a_file(net, tmp_path), tmp_path / "n.pte", into=net, calib=given)
    assert (done.exact, done.rounded) == (2, 2) and done.check.relative < 0.05


def test_one_input_channel_is_no_layer_for_dynamic_kernels_and_stays_float(tmp_path):
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 3)
    ).eval()
    out, given = tmp_path / "n.pte", [torch.randn(4, 1, 8, 8)]
    done = taut.export(in_a_file(net, tmp_path), out, into=net, calib=given, activations="dynamic")
    assert done.rounded == 1 and any("1 of 2 weights stay float" in one for one in done.notes)


def test_what_is_refused_leaves_nothing(tmp_path):
    refusals(tmp_path, "n.pte")
