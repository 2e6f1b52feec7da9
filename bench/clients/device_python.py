"""Exports to phones and boards, made and run where their packages are: vectors of texts, latency.

`python device_python.py JOB`, in an environment that has Taut and the extra of the client. JOB is a
JSON file with `client`, `source` (a Taut folder), `model` (where to write), `weights`, `ids` (the
tokens of texts) and `repeats`; what it finds is one line of JSON, the last of stdout.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

import taut
from taut.exporting.held_against import Answers

TOKENS = 64  # the length of texts that an export without data has


def main(path: str) -> None:
    """Export and load the model of a job, and answer it."""
    torch.set_num_threads(1)
    job: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    out = Path(job["model"])
    taut.export(job["source"], out, weights=job["weights"], force=True)
    runtime, answers = opened(out, job["client"])
    found: dict[str, Any] = {"client": runtime, "embeddings": []}
    for ids in job["ids"]:
        states = answers(feed(ids))[0][0]
        found["embeddings"].append(states[: len(ids)].mean(axis=0).tolist())
    longest = feed(max(job["ids"], key=len))
    found["latency"] = latency(answers, longest, job["repeats"])
    print(json.dumps(found), flush=True)


def opened(path: Path, client: str) -> tuple[str, Answers]:
    """The runtime with its version, and what gives the outputs of a written model."""
    if client == "litert":
        from taut.exporting.litert.interpreter import LiteRunner

        written = LiteRunner(path).written(path.name)
    else:
        from taut.exporting.executorch.program_runner import ProgramRunner

        names = ("input_ids", "token_type_ids", "attention_mask")
        written = ProgramRunner(path, names).written(path.name)
    return written.runtime, written.answers


def feed(ids: list[int]) -> dict[str, torch.Tensor]:
    """A text of a sentence encoder, padded."""
    row = torch.zeros(1, TOKENS, dtype=torch.int64)
    row[0, : len(ids)] = torch.tensor(ids)
    mask = (torch.arange(TOKENS) < len(ids)).long()[None]
    return {"input_ids": row, "token_type_ids": torch.zeros_like(row), "attention_mask": mask}


def latency(answers: Answers, sample: object, repeats: int) -> float:
    """The least processor time of some calls, in seconds, after two that are not counted."""
    times = []
    for _ in range(repeats + 2):
        begun = time.process_time()
        answers(sample)
        times.append(time.process_time() - begun)
    return min(times[2:])


if __name__ == "__main__":
    main(sys.argv[1])
