"""What a compressed language model lost: perplexity, and divergence from the original.

    python -m bench.scale.judging ORIGINAL RESULT TEXT [--windows 8]

ORIGINAL is a folder that transformers opens, RESULT what Taut made of it. Both are run on the first
windows of 512 tokens of TEXT, which must be no text that RESULT was calibrated on. The divergence
is the mean KL of the next token's distribution from the original's, in nats.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import torch

import taut
from bench.scale.collecting import windows_of
from taut.networks import open_model


def main(argv: Sequence[str] | None = None) -> None:
    """Print both perplexities and the divergence."""
    torch.set_num_threads(1)
    asked = command_line().parse_args(argv)
    original = open_model(asked.original).module.eval()
    other = taut.load(asked.result, into=open_model(asked.original).module).eval()
    losses, divergence, count = [0.0, 0.0], 0.0, 0
    for batch in windows_of(asked.original, asked.text, asked.windows):
        for ids in batch["input_ids"]:
            with torch.no_grad():
                found = [one(ids[None]).logits[0, :-1].log_softmax(-1) for one in (original, other)]
            for number, one in enumerate(found):
                losses[number] -= float(one.gather(1, ids[1:, None]).sum())
            divergence += float((found[0].exp() * (found[0] - found[1])).sum())
            count += len(ids) - 1
    before, after = (math.exp(loss / count) for loss in losses)
    print(f"perplexity {before:.2f} -> {after:.2f}, KL {divergence / count:.4f}, {count} tokens")


def command_line() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("original", type=Path, help="a folder that transformers opens")
    parser.add_argument("result", type=Path, help="the folder that Taut wrote")
    parser.add_argument("text", type=Path, help="a text that the model was not calibrated on")
    parser.add_argument("--windows", type=int, default=8, help="windows of 512 tokens")
    return parser


if __name__ == "__main__":
    main()
