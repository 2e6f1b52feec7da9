"""Curvature of a language model, collected in this process: what `bench.scale.table` observes.

    python -m bench.scale.collecting FOLDER TEXT WINDOWS

FOLDER is a model that transformers opens, or `random:WIDTH,MLP,LAYERS,VOCABULARY` for a Llama in
bfloat16 of these shapes, which is written to a temporary folder and mapped. Of TEXT so many windows
of 512 tokens are taken, one a batch.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
import transformers
from torch import Tensor

from taut.analysis import collect
from taut.analysis.foretold import foretell
from taut.networks import open_model

_LENGTH, _BATCH = 512, 1


def main(argv: Sequence[str] | None = None) -> None:
    """Collect, and print what it took."""
    torch.set_num_threads(1)
    asked = command_line().parse_args(argv)
    with tempfile.TemporaryDirectory() as made:
        random = asked.model.startswith("random:")
        folder = made_folder(asked.model, Path(made)) if random else Path(asked.model)
        module = open_model(folder, widened=False).module
        batches = windows_of(folder, Path(asked.text), asked.windows)
        shapes = {
            name: tuple(one.shape) for name, one in module.named_parameters() if one.ndim == 2
        }
        narrow = next(module.parameters()).dtype == torch.bfloat16
        told = foretell(shapes, narrow=narrow, tokens=asked.windows * _LENGTH)
        began, before = cpu_seconds(), _anonymous()
        found = collect(module, lambda: batches, names=set(shapes))
        said = {"cpu": cpu_seconds() - began, "before": before, "told": before + told.memory}
        weights = sum(one.numel() for one in module.parameters())
        print(json.dumps({**said, "disk": told.disk, "matrices": len(found), "weights": weights}))


def command_line() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a folder, or random:WIDTH,MLP,LAYERS,VOCABULARY")
    parser.add_argument("text", help="a text to take windows of")
    parser.add_argument("windows", type=int, help="windows of 512 tokens")
    return parser


def made_folder(shapes: str, folder: Path) -> Path:
    """The folder of a Llama with random weights."""
    width, mlp, layers, words = map(int, shapes.removeprefix("random:").split(","))
    config = transformers.LlamaConfig(
        hidden_size=width, intermediate_size=mlp, num_hidden_layers=layers, vocab_size=words,
        num_attention_heads=width // 64, num_key_value_heads=max(1, width // 512),
        tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.LlamaForCausalLM._from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    return folder


def windows_of(folder: Path, text: Path, windows: int) -> list[dict[str, Tensor]]:
    """So many windows of 512 tokens of the text, one a batch; random ones without a tokenizer."""
    count = windows * _LENGTH
    if (folder / "tokenizer.json").exists():
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        ids = torch.tensor(tokenizer(text.read_text()[: 8 * count])["input_ids"][:count])
    else:
        ids = torch.randint(0, 1000, (count,), generator=torch.Generator().manual_seed(0))
    parts = ids.reshape(windows, _LENGTH).split(_BATCH)
    return [{"input_ids": one, "attention_mask": torch.ones_like(one)} for one in parts]


def cpu_seconds() -> float:
    """What this process has used so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _anonymous() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(one.split()[1]) for one in lines if one.startswith("RssAnon:"))


if __name__ == "__main__":
    main()
