"""What texts of other kinds are worth among the calibration data of a language model.

    python -m bench.frontier.blend MODEL_FOLDER --own NAME=FILE --other NAME=FILE ...
                                   [--bits 3] [--shares 0 0.05 0.1 0.2] [--generated 0.5 0.75]
                                   [--windows 64]

The model is calibrated on the first half of `--own` with each share of Taut's own texts, with each
share of windows that it generates itself, and on Taut's texts alone. Each file is judged on the
second half of every text: the mean divergence of its next tokens from the original's (KL, nats),
and its perplexity. Nothing of the second halves is seen.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import taut
from taut.networks import TextData, open_model

_LENGTH = 128
_JUDGED = 64  # windows of each text


def halves(path: Path) -> tuple[str, str]:
    """A text, cut in the middle at the end of a line."""
    text = path.read_text(encoding="utf-8", errors="replace")
    middle = text.index("\n", len(text) // 2)
    return text[:middle], text[middle:]


def windows(model: Any, text: str) -> Any:
    """Tokens of a text as (windows, length), spread over it."""
    import torch

    ids = np.array(model.tokenize.tokenizer(text, verbose=False)["input_ids"], np.int64)
    cut = ids[: len(ids) // _LENGTH * _LENGTH].reshape(-1, _LENGTH)
    return torch.from_numpy(cut[np.arange(min(_JUDGED, len(cut))) * len(cut) // _JUDGED])


def log_probabilities(module: Any, tokens: Any) -> Any:
    """Of each next token, float32 (windows, length - 1, vocabulary)."""
    import torch

    with torch.no_grad():
        parts = [module(input_ids=one).logits[:, :-1] for one in tokens.split(8)]
    return torch.cat(parts).float().log_softmax(-1)


def judged(original: Any, module: Any, tokens: Any) -> tuple[float, float]:
    """Divergence in nats a token, and perplexity."""
    ours = log_probabilities(module, tokens)
    kl = (original.exp() * (original - ours)).sum(-1).mean()
    loss = -ours.gather(-1, tokens[:, 1:, None]).mean()
    return float(kl), float(loss.exp())


def named(option: str) -> tuple[str, Path]:
    """`NAME=FILE`."""
    name, _, path = option.partition("=")
    return name, Path(path)


def command_line() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--own", type=named, required=True)
    parser.add_argument("--other", type=named, nargs="*", default=[])
    parser.add_argument("--bits", type=float, default=3)
    parser.add_argument("--shares", type=float, nargs="*", default=[0, 0.05, 0.1, 0.2])
    parser.add_argument("--generated", type=float, nargs="*", default=[0.5, 0.75])
    parser.add_argument("--windows", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Print one table."""
    given = command_line().parse_args(argv)
    loaded = open_model(given.model)
    own, _ = halves(given.own[1])
    texts = {name: windows(loaded, halves(path)[1]) for name, path in [given.own, *given.other]}
    originals = {name: log_probabilities(loaded.module, one) for name, one in texts.items()}
    print("| calibrated on |", " | ".join(f"{n}: KL, perplexity" for n in texts), "| CPU s |")
    print("|---|" + "---|" * (len(texts) + 1))
    name = given.own[0]
    asked = [(f"{name}, {one:.0%} of Taut's", [own], one, 0.0) for one in given.shares]
    asked += [(f"{name}, {one:.0%} generated", [own], 0.0, one) for one in given.generated]
    for told, source, share, made in [*asked, ("Taut's texts alone", "default", 0.0, 0.0)]:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
        data = TextData(source, length=_LENGTH, windows=given.windows, blend=share, generated=made)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "m"
            taut.compress(given.model, path, calib=data, bits=given.bits, seed=given.seed)
            module = open_model(given.model).module
            taut.load(next(path.glob("*.taut.safetensors")), into=module)
        cells = [judged(originals[name], module, one) for name, one in texts.items()]
        seconds = resource.getrusage(resource.RUSAGE_SELF).ru_utime - before
        print(f"| {told} | {' | '.join(f'{k:.4f}, {p:.2f}' for k, p in cells)} | {seconds:.0f} |")


if __name__ == "__main__":
    main()
