"""What it is worth to follow weights that are no plain Linear: experts, LSTMs, attention.

    python -m bench.frontier.followed [--bits 3]

Each network is calibrated twice, to the same bits: as it is, and with the same function written so
that uses of its weights cannot be followed (each is multiplied by one first), which leaves the
gradients of whole tensors to go by: what was done for all of these before. Experts are also
written as linear layers; which of them a token goes to is not compressed. Loss is the squared error
of outputs on data not calibrated on, relative to their power; nothing is tuned after rounding.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

import taut
from bench.measuring import report

_TOKENS, _BATCH = 1024, 128  # calibrated on, and again as many to judge


def main(argv: Sequence[str] | None = None) -> None:
    """Print a table and write `bench/results/followed.json`."""
    arguments = command_line().parse_args(argv)
    rows = list(_rows(arguments.bits))
    report.save("followed", rows)
    print(f"Relative squared error of outputs at {arguments.bits:g} bits a weight\n")
    names = ("network", "way", "bytes", "error")
    print(report.table({name: name for name in names}, rows))
    print(report.footer())


class Experts(nn.Module):
    """Eight experts, two for each token, in two tensors; `apart`: in linear layers."""

    def __init__(self, apart: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.register_buffer("gate", torch.randn(64, 8) / 8, persistent=False)
        up, down = torch.randn(8, 160, 64) / 8, torch.randn(8, 64, 160) / 13
        if apart:
            self.up, self.down = _layers(up), _layers(down)
        else:
            self.up, self.down = nn.Parameter(up), nn.Parameter(down)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (N, 64) to the same."""
        top, at = (x @ self.gate).softmax(-1).topk(2, -1)
        found = torch.zeros_like(x)
        for expert in range(8):
            rows, slot = (at == expert).nonzero(as_tuple=True)
            up, down = (_weight(one[expert]) for one in (self.up, self.down))
            inner = functional.linear(x[rows], up).relu()
            found = found.index_add(0, rows, top[rows, slot, None] * functional.linear(inner, down))
        return found


class Recurrent(nn.Module):
    """Two layers of an LSTM; the last state's map is the output."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.last = nn.LSTM(64, 96, 2, batch_first=True), nn.Linear(96, 64)
        for name, one in self.layer.named_parameters():  # as large as trained ones
            nn.init.normal_(one, std=0.2 if "weight" in name else 0.05)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (N, 64), sixteen a sequence, to one output a sequence."""
        return self.last(self.layer(x.unflatten(0, (-1, 16)))[0])


class Attention(nn.Module):
    """Attention of half of the tokens of a sequence to the other half."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.attention = nn.MultiheadAttention(64, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (N, 64), sixteen a sequence."""
        queries, others = x.unflatten(0, (-1, 16)).chunk(2, 1)
        return self.attention(queries, others.tanh(), others.tanh())[0]


class Unfollowed(nn.Module):
    """The same network, whose weights are multiplied by one before they are used."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Any:
        """As the network's."""
        own = {name: one * 1.0 for name, one in self.network.named_parameters()}
        return functional_call(self.network, own, (x,))


def _rows(bits: float) -> Iterator[dict[str, object]]:
    makers: dict[str, Callable[[], nn.Module]] = {
        "8 experts in one tensor, top 2": lambda: Experts(apart=False),
        "LSTM, two layers": Recurrent,
        "attention to other tokens": Attention,
    }
    for name, make in makers.items():
        ways = {"whole gradients": Unfollowed(make()), "followed": make()}
        if name.startswith("8"):
            ways["as linear layers"] = Experts(apart=True)
        for way, network in ways.items():
            nbytes, error = _point(network.eval(), bits)
            yield {"network": name, "way": way, "bytes": nbytes, "error": error}


def _point(network: nn.Module, bits: float) -> tuple[int, float]:
    """Bytes of the file, and the error of its outputs."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(1)
    spread = (
        torch.diag(torch.arange(1.0, 65) ** -0.7) * 4
    )  # inputs that hang together, as real ones
    basis = torch.linalg.qr(torch.randn(64, 64, generator=generator))[0]
    x = torch.randn(2 * _TOKENS, 64, generator=generator) @ spread @ basis
    calib, held = x.split(_TOKENS)
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        wanted = network(held)
        file = Path(folder) / "file.taut"
        taut.compress(network, file, bits=bits, calib=list(calib.split(_BATCH)), finish=False)
        taut.load(file, into=network)
        error = (network(held) - wanted).square().sum() / wanted.square().sum()
        return file.stat().st_size, float(error)


def _layers(weights: Tensor) -> nn.ModuleList:
    layers = nn.ModuleList(nn.Linear(w.shape[1], w.shape[0], bias=False) for w in weights)
    for layer, weight in zip(layers, weights, strict=True):
        layer.get_parameter("weight").data.copy_(weight)
    return layers


def _weight(one: nn.Module | Tensor) -> Tensor:
    return one.get_parameter("weight") if isinstance(one, nn.Module) else one


def command_line() -> argparse.ArgumentParser:
    """Return the parser of what is typed behind the script's name."""
    parser = argparse.ArgumentParser(description="Weights followed, or known by gradients alone.")
    parser.add_argument("--bits", type=float, default=3.0)
    return parser


if __name__ == "__main__":
    main()
