"""What of a Q8_0 file's perplexity is the rounding of weights, and what the runtime's own doing.

llama.cpp on a CPU rounds the activations before a matrix of integers to 8 bits, 32 at a time. So
each model is scored four ways, token by token: PyTorch with its weights and with those that Q8_0
holds, llama.cpp with a float32 file of those very values and with the Q8_0 file. The second and
third must agree, and the fourth less the third is what the runtime costs.

python -m bench.clients.runtime_cost --home build/clients --windows 20
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM

import taut
from bench.clients.answers import Answer, reference
from bench.clients.exports import Export, compressed
from bench.clients.install import clients
from bench.clients.models import MODELS, SCORED, ClientModel
from bench.measuring import report

BLOCK = 32  # values that share a scale in Q8_0


def command_line() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--home", type=Path, default=Path("build/clients"))
    parser.add_argument("--models", nargs="+", default=["llama", "smollm2"], choices=[*MODELS])
    parser.add_argument("--windows", type=int, default=20, help=f"of {SCORED} tokens")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Print a table."""
    asked = command_line().parse_args(argv)
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in asked.models:
            rows += measured(MODELS[name], name, Path(folder), asked)
    print(report.table({title: title for title in rows[0]}, rows))


def measured(make, name: str, folder: Path, asked: argparse.Namespace) -> Iterator[report.Row]:  # type: ignore[no-untyped-def]
    """The rows of one model."""
    model = make(folder / name)
    model = replace(model, ids=model.ids[: asked.windows])
    rounded = replace(model, folder=as_rounded(model, folder / f"{name}-rounded"))
    files = {}
    for of, one, weights in ((model, "q8_0", "int8"), (rounded, "values", "float32")):
        source = compressed(of, folder, "lossless")
        files[one] = Export(of, one, folder / f"{name}-{one}.gguf", source)
        taut.export(source, files[one].path, weights=weights)
    scored = {
        "PyTorch, its weights": values(reference(files["q8_0"])),
        "PyTorch, Q8_0's values": values(reference(files["values"])),
        "llama.cpp, Q8_0's values as float32": values(ask(files["values"], folder, asked.home)),
        "llama.cpp, Q8_0": values(ask(files["q8_0"], folder, asked.home)),
    }
    pairs = [(2, 1, "the file's values"), (1, 0, "rounding"), (3, 2, "the runtime"), (3, 0, "all")]
    kinds = [*scored]
    for after, before, said in pairs:
        change = scored[kinds[before]] - scored[kinds[after]]
        yield {
            "model": model.name,
            "of": said,
            "change of perplexity": f"{math.exp(change.mean()) - 1:+.4%}",
            "±": f"{change.std() / math.sqrt(len(change)):.4%}",
            "tokens": len(change),
            "perplexity": f"{math.exp(-scored[kinds[after]].mean()):.4f}",
        }


def as_rounded(model: ClientModel, folder: Path) -> Path:
    """A folder of the network whose matrices have the values that Q8_0 holds."""
    net = AutoModelForCausalLM.from_pretrained(model.folder, dtype=torch.float32)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.ndim == 2 and parameter.shape[1] % BLOCK == 0:
                blocks = parameter.reshape(-1, BLOCK)
                scale = blocks.abs().amax(1, keepdim=True) / 127
                codes = torch.where(scale > 0, blocks / scale, 0).round()
                parameter.copy_((codes * scale.half().float()).reshape(parameter.shape))
    net.save_pretrained(folder)
    tokenizer = model.folder / "tokenizer.json"
    (folder / "tokenizer.json").write_bytes(tokenizer.read_bytes())
    return folder


def ask(export: Export, folder: Path, home: Path) -> Answer:
    """What node-llama-cpp answers: it gives the chances of every token of a text at once."""
    [client] = [one for one in clients(home.resolve()) if one.name == "llama-node"]
    job = folder / "job.json"
    job.write_text(json.dumps({**export.job(), "ids": export.model.ids, "texts": [], "repeats": 1}))
    done = subprocess.run(
        [*client.command, str(job)], cwd=client.folder, capture_output=True, text=True, check=True
    )
    print(f"{export.model.name}, {export.name}: asked", file=sys.stderr, flush=True)
    return Answer.of(json.loads(done.stdout.strip().splitlines()[-1]))


def values(answer: Answer) -> np.ndarray:
    """The log-probabilities of all tokens, one after the other."""
    return answer.scored(answer)


if __name__ == "__main__":
    main()
