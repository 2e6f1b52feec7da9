"""ONNX files in onnxruntime or OpenVINO: a vector of each text, and latency.

`python onnx_python.py JOB`, in an environment that has the client alone. JOB is a JSON file with
`client`, `model` (a path), `ids` (tokens of texts) and `repeats`; what it finds is one line of
JSON, the last of stdout.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np

Feed = dict[str, "np.ndarray[Any, Any]"]
Run = Callable[[Feed], "np.ndarray[Any, Any]"]


def main(path: str) -> None:
    """Load the model of a job, and answer it."""
    with open(path, encoding="utf-8") as file:
        job = json.load(file)
    names, run = {"onnxruntime": onnxruntime, "openvino": openvino}[job["client"]](job["model"])
    found: dict[str, Any] = {"client": f"{job['client']} {version(job['client'])}"}
    feeds = [feed(names, ids) for ids in job["ids"]]
    found["embeddings"] = [vector(run(one)[0].astype(np.float64)) for one in feeds]
    longest = max(feeds, key=lambda one: next(iter(one.values())).size)
    found["latency"] = latency(lambda: run(longest), job["repeats"])
    print(json.dumps(found), flush=True)


def feed(names: list[str], ids: list[int]) -> Feed:
    """A batch of one text for the inputs of a sentence encoder."""
    row = np.array([ids], np.int64)
    every = {"input_ids": row, "attention_mask": row * 0 + 1, "token_type_ids": row * 0}
    return {name: every[name] for name in names}


def vector(output: np.ndarray[Any, Any]) -> list[float]:
    """The vector of a text: the output itself, or the mean of its tokens' vectors."""
    found: list[float] = (output if output.ndim == 1 else output.mean(axis=0)).tolist()
    return found


def latency(call: Callable[[], object], repeats: int) -> float:
    """The least processor time of some calls, in seconds, after two that are not counted."""
    times = []
    for _ in range(repeats + 2):
        begun = time.process_time()
        call()
        times.append(time.process_time() - begun)
    return min(times[2:])


def onnxruntime(path: str) -> tuple[list[str], Run]:
    """The names of a model's inputs, and what gives its first output."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    output = session.get_outputs()[0].name
    return [one.name for one in session.get_inputs()], lambda one: session.run([output], one)[0]


def openvino(path: str) -> tuple[list[str], Run]:
    """The names of a model's inputs, and what gives its first output."""
    import openvino

    hint = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(path, "CPU", hint)
    return [one.any_name for one in model.inputs], lambda one: model(one)[0]


if __name__ == "__main__":
    main(sys.argv[1])
