"""A GGUF file in llama.cpp, through xllamacpp: tokens, log-probabilities, embeddings.

Runs in an environment that has xllamacpp alone: `python llama_cpp.py JOB`, where JOB is a JSON
file with `model` (a path), `embeds`, `texts`, and `ids` (tokens of texts, to be scored); what it
finds is one line of JSON, the last of stdout.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

WINDOWS = 12  # at most: the runtime is asked once a token
MOST = 4096  # tokens of a vocabulary


def main(path: str) -> None:
    """Load the model of a job, and answer it."""
    import xllamacpp

    with open(path, encoding="utf-8") as file:
        job = json.load(file)
    params = xllamacpp.CommonParams()
    params.model.path = job["model"]
    params.n_ctx, params.n_parallel, params.warmup = 256, 1, False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.verbosity = 0
    if job["embeds"]:
        params.embedding = True
        params.n_ubatch = params.n_batch = 256
    server = xllamacpp.Server(params)
    where = server.listening_address
    found: dict[str, Any] = {"client": f"xllamacpp {version('xllamacpp')}"}
    found["tokens"] = [
        ask(where, "tokenize", {"content": text, "add_special": True})["tokens"]
        for text in job["texts"]
    ]
    if job["embeds"]:
        answers = [ask(where, "embedding", {"content": text}) for text in job["texts"]]
        found["embeddings"] = [one[0]["embedding"][0] for one in answers]
        longest = {"content": max(job["texts"], key=len)}
        found["latency"] = latency(lambda: ask(where, "embedding", longest), job["repeats"])
    elif job["vocabulary"] <= MOST:  # each answer lists all of it
        found["logprobs"] = [scored(where, ids, job["vocabulary"]) for ids in job["ids"][:WINDOWS]]
    print(json.dumps(found), flush=True)


def scored(where: str, ids: list[int], vocabulary: int) -> list[float]:
    """The log-probability of each token after the first."""
    found = []
    for end in range(1, len(ids)):
        body = {"prompt": ids[:end], "n_predict": 1, "n_probs": vocabulary, "cache_prompt": True}
        body["ignore_eos"] = True  # a text that ends has no probabilities; they are the raw ones
        body |= {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
        first = ask(where, "completion", body)["completion_probabilities"][0]
        every = {one["id"]: one["logprob"] for one in first["top_logprobs"]}
        found.append(every[ids[end]])
    return found


def latency(call: Callable[[], object], repeats: int) -> float:
    """The least processor time of some calls, in seconds, after two that are not counted."""
    times = []
    for _ in range(repeats + 2):
        begun = time.process_time()
        call()
        times.append(time.process_time() - begun)
    return min(times[2:])


def ask(where: str, what: str, body: dict[str, Any]) -> Any:
    """One request of llama.cpp's own server."""
    request = urllib.request.Request(
        f"{where}/{what}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


if __name__ == "__main__":
    main(sys.argv[1])
