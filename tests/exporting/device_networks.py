"""Small networks whose integers are known, as exports to phones and boards take them."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import taut  # noqa: E402
from taut.errors import ArgumentError, VerifyError  # noqa: E402


class Convolutions(torch.nn.Module):
    """Layers with norms, one in as many groups as channels, a sum, and a linear layer."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.depthwise = torch.nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.last = torch.nn.Conv2d(8, 8, 1)
        self.norms = torch.nn.ModuleList(torch.nn.BatchNorm2d(8) for _ in range(3))
        self.linear = torch.nn.Linear(8, 5)
        for norm in self.norms:
            norm.running_mean.normal_(0, 0.2)
            norm.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(norm.weight, 0.5, 2)
            torch.nn.init.normal_(norm.bias, std=0.2)

    def forward(self, x):
        x = torch.relu(self.norms[0](self.first(x)))
        y = torch.relu(self.norms[1](self.depthwise(x)))
        x = torch.relu(x + self.norms[2](self.last(y)))
        return self.linear(x.mean((2, 3)))


def convolutions():
    """The network, its kernels on grids of int8; their integers, as tuples of shapes and values."""
    torch.manual_seed(0)
    net = Convolutions().eval()
    for layer in (net.first, net.depthwise, net.last, net.linear):
        q = torch.randint(-127, 128, layer.weight.shape).reshape(len(layer.weight), -1)
        # neighbours tell the divisor, and no value is the least step: a difference is not the scale
        q[:, 0], q[:, 1] = 97, 89
        scale = torch.rand(len(q), 1) * 0.004 + 0.001
        layer.weight.data = (q * scale).reshape(layer.weight.shape)
    return net


def integers_of(net):
    """The integers of its four weights, rows of outputs, whatever sign a norm gave them."""
    return {
        name: np.abs(np.rint((one / one.reshape(len(one), -1)[:, :1].reshape(
            -1, *[1] * (one.ndim - 1)) * 97).detach().numpy())).astype(int).reshape(len(one), -1)
        for name, one in net.named_parameters() if one.ndim > 1
    }  # fmt: skip


def batches():
    """Batches like those of real use, of eight samples."""
    torch.manual_seed(1)
    return [torch.randn(8, 3, 8, 8) for _ in range(3)]


def in_a_file(net, tmp_path: Path) -> Path:
    """The network's tensors in a Taut file, bit-exact."""
    file = tmp_path / "net.taut.safetensors"
    taut.compress(net, file)
    return file


def refusals(tmp_path: Path, name: str) -> None:
    """Whatever an export to `name` refuses, it leaves nothing, and what was there as it was."""
    net = convolutions()
    file = in_a_file(net, tmp_path)
    (tmp_path / name).write_bytes(b"before")
    with pytest.raises(VerifyError, match=rf"{name}: .* error of [\d.e-]+ of the outputs' range"):
        taut.export(file, tmp_path / name, into=net, calib=batches(), max_error=1e-7, force=True)
    assert (tmp_path / name).read_bytes() == b"before"

    class Branches(Convolutions):
        def forward(self, x):
            return super().forward(x) if x.sum() > 0 else x

    (tmp_path / name).unlink()
    branches = Branches().eval()
    branches.load_state_dict(net.state_dict())
    with pytest.raises(ArgumentError, match=r"cannot follow Branches: .*no branches on values"):
        taut.export(file, tmp_path / name, into=branches, calib=batches())
    with pytest.raises(ArgumentError, match="takes a batch to trace the network with"):
        taut.export(file, tmp_path / name, into=net)
    with pytest.raises(ArgumentError, match="holds tensors alone"):
        taut.export(file, tmp_path / name, calib=batches())
    with pytest.raises(ArgumentError, match=r"rejects it: .* float32 \[8, 2, 8, 8\]"):
        taut.export(file, tmp_path / name, into=net, calib=[torch.ones(8, 2, 8, 8)])
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
