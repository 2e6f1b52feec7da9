"""What each output of a network with several heads loses, by how much each of them counts.

    python -m bench.frontier.heads [--bits 3]

A network with two heads is trained on MNIST in some ten seconds: one tells the digit, the other
where its ink lies, how far it spreads and how it leans, in numbers a hundred times as large, or a
hundredth, and far from zero. A file's loss is told of each output alone, on the test images, in
thousandths: nats of KL divergence of the digit, and the squared error of the numbers over their
variance.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

import taut
from bench.data.assets import asset
from bench.measuring import report

_EPOCHS, _BATCH, _WIDTH = 2, 100, 128
_CALIBRATED = 1024
Shares = Mapping[str, float] | Sequence[str] | None
ASKED: Mapping[str, Shares] = {
    "all alike": None,
    "the digit alone": ["digit"],
    "the numbers alone": ["numbers"],
    "the digit ten times": {"digit": 10},
    "the numbers ten times": {"numbers": 10},
}


class TwoHeads(nn.Module):
    """Two layers that two heads share; the second gives `size` times what it was trained for."""

    def __init__(self, size: float) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Linear(784, _WIDTH), nn.ReLU(), nn.Linear(_WIDTH, _WIDTH), nn.ReLU()
        )
        self.which, self.where = nn.Linear(_WIDTH, 10), nn.Linear(_WIDTH, 5)
        self.size = size

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Images (n, 784) -> logits (n, 10) and numbers (n, 5)."""
        hidden = self.trunk(x)
        return {"digit": self.which(hidden), "numbers": self.size * self.where(hidden)}


def images(split: str) -> tuple[Tensor, Tensor, Tensor]:
    """Images in 0 to 1, their digits, and five numbers of where their ink lies, about 3 each."""
    with np.load(asset("mnist/mnist.npz")) as held:
        pixels = torch.from_numpy(held[f"x_{split}"]).float().reshape(-1, 28, 28) / 255
        digits = torch.from_numpy(held[f"y_{split}"].astype(np.int64))
    weight = pixels / pixels.sum((1, 2), keepdim=True).clamp_min(1e-6)
    place = torch.arange(28.0)
    across, down = weight.sum(1), weight.sum(2)
    x, y = across @ place, down @ place
    dx, dy = place[None] - x[:, None], place[None] - y[:, None]
    lean = torch.einsum("nij,ni,nj->n", weight, dy, dx)
    numbers = torch.stack([x, y, (across * dx**2).sum(1), (down * dy**2).sum(1), lean], 1)
    return pixels.reshape(-1, 784), digits, numbers / numbers.std(0) + 3


def trained(size: float, seed: int = 0) -> TwoHeads:
    """The network, each head with a loss of its own."""
    torch.manual_seed(seed)
    network = TwoHeads(1.0)
    x, digits, numbers = images("train")
    optimiser = torch.optim.Adam(network.parameters(), 2e-3)
    for _ in range(_EPOCHS):
        for some in torch.randperm(len(x)).split(_BATCH):
            found = network(x[some])
            loss = functional.cross_entropy(found["digit"], digits[some])
            loss = loss + functional.mse_loss(found["numbers"], numbers[some])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    network.size = size
    return network.eval()


def losses(network: nn.Module, changed: nn.Module) -> dict[str, float]:
    """What each output lost on the test images."""
    x, _, _ = images("test")
    with torch.inference_mode():
        old, new = network(x), changed(x)
    kl = functional.kl_div(
        new["digit"].log_softmax(1), old["digit"].log_softmax(1),
        log_target=True, reduction="batchmean",
    )  # fmt: skip
    off = (new["numbers"] - old["numbers"]).square().mean()
    lost = off / old["numbers"].var(0).mean()
    return {"digit": 1000 * float(kl), "numbers": 1000 * float(lost)}


def row(network: TwoHeads, bits: float, shares: Shares) -> dict[str, object]:
    """Compress, load into a copy, and judge that."""
    x = images("train")[0][:_CALIBRATED]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.taut.safetensors")
        made = taut.compress(
            network, path, bits=bits, calib=[*x.split(64)], outputs=shares, progress=False
        )
        other = copy.deepcopy(network)
        taut.load(path, into=other)
    return {"bits": made.bits, **losses(network, other)}


def main(argv: Sequence[str] | None = None) -> None:
    """Print a table of losses."""
    arguments = command_line().parse_args(argv)
    rows = []
    for size in (0.01, 100.0):
        network = trained(size)
        for name, shares in ASKED.items():
            rows.append({"size": size, "counts": name, **row(network, arguments.bits, shares)})
    columns = {
        "size": "numbers times",
        "counts": "counts",
        "bits": "bits",
        "digit": "KL / 1000",
        "numbers": "numbers / 1000",
    }
    print(report.table(columns, rows))
    print(report.footer())


def command_line() -> argparse.ArgumentParser:
    """Return the parser of what is typed behind the script's name."""
    parser = argparse.ArgumentParser(description="Losses of two heads, by how much each counts.")
    parser.add_argument("--bits", type=float, default=3.0)
    return parser


if __name__ == "__main__":
    main()
