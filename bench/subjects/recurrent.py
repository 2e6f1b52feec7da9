"""A language model of characters with an LSTM, on tinyshakespeare.

    python -m bench.subjects.recurrent FILE [--rounds 3]

trains it from nothing on the first nine tenths of the text and writes its weights, in a few minutes
of one core. The last tenth judges: states are carried from its beginning to its end.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from bench.data.assets import asset

_WIDTH, _WINDOW, _STREAMS, _RATE = 256, 64, 32, 3e-3
_JUDGED, _STEP = 16, 512


class CharacterModel(nn.Module):
    """An embedding, two layers of LSTM, a head; its state is given back where one is given."""

    def __init__(self, characters: int, width: int = _WIDTH) -> None:
        super().__init__()
        self.embed = nn.Embedding(characters, width // 4)
        self.lstm = nn.LSTM(width // 4, width, num_layers=2, batch_first=True)
        self.head = nn.Linear(width, characters)

    def forward(self, ids: Tensor) -> Tensor:
        """Characters (texts, length) -> logits (texts, length, characters), from an empty state."""
        logits: Tensor = self.head(self.lstm(self.embed(ids))[0])
        return logits

    def carried(
        self, ids: Tensor, state: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The same from a state, and the state that it leaves."""
        hidden, after = self.lstm(self.embed(ids), state)
        return self.head(hidden), after


@cache
def text() -> tuple[Tensor, Tensor, int]:
    """Characters to train on, those to judge by, and how many different ones there are."""
    raw = asset("text/tinyshakespeare.txt").read_text()
    known = {one: number for number, one in enumerate(sorted(set(raw)))}
    ids = torch.tensor([known[one] for one in raw])
    cut = len(ids) * 9 // 10
    return ids[:cut], ids[cut:], len(known)


def streams(ids: Tensor, count: int, length: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Windows of `count` texts side by side, each going on where the last ended; and targets."""
    each = (len(ids) - 1) // count
    inputs = ids[: each * count].reshape(count, each)
    targets = ids[1 : each * count + 1].reshape(count, each)
    for begin in range(0, each, length):
        yield inputs[:, begin : begin + length], targets[:, begin : begin + length]


def trained(rounds: int, seed: int = 0) -> CharacterModel:
    """The model after so many rounds over its text."""
    torch.manual_seed(seed)
    ids, _, characters = text()
    model = CharacterModel(characters)
    optimiser = torch.optim.Adam(model.parameters(), _RATE)
    total = rounds * sum(1 for _ in streams(ids, _STREAMS, _WINDOW))
    course = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total, pct_start=0.05)
    for number in range(rounds):
        state, lost, steps = None, 0.0, 0
        for inputs, targets in streams(ids.roll(-97 * number), _STREAMS, _WINDOW):
            logits, after = model.carried(inputs, state)
            state = (after[0].detach(), after[1].detach())
            loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            course.step()
            lost, steps = lost + loss.item(), steps + 1
        print(f"round {number + 1}: {lost / steps / math.log(2):.3f} bits a character", flush=True)
    return model.eval()


@torch.inference_mode()
def bits_per_character(model: CharacterModel, most: int | None = None) -> float:
    """What the model takes for the last tenth of the text, or so much of it, its states carried."""
    _, ids, _ = text()
    ids = ids if most is None else ids[: most + 1]
    state, lost, count = None, 0.0, 0
    for inputs, targets in streams(ids, _JUDGED, _STEP):
        logits, state = model.carried(inputs, state)
        loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")
        lost, count = lost + loss.item(), count + targets.numel()
    return lost / count / math.log(2)


def windows(count: int, length: int) -> list[Tensor]:
    """Windows of the training text for calibration, evenly spread, sixteen a batch."""
    ids, _, _ = text()
    begins = [number * (len(ids) - length) // count for number in range(count)]
    return list(torch.stack([ids[begin : begin + length] for begin in begins]).split(16))


def main(argv: Sequence[str] | None = None) -> None:
    """Train, and write the weights."""
    arguments = command_line().parse_args(argv)
    model = trained(arguments.rounds)
    save_file({name: one.contiguous() for name, one in model.state_dict().items()}, arguments.file)
    print(f"{bits_per_character(model):.4f} bits a character on the last tenth")


def command_line() -> argparse.ArgumentParser:
    """Return the parser of what is typed behind the script's name."""
    parser = argparse.ArgumentParser(description="Train an LSTM on the characters of Shakespeare.")
    parser.add_argument("file", type=Path, help="where its weights go")
    parser.add_argument("--rounds", type=int, default=3)
    return parser


if __name__ == "__main__":
    main()
