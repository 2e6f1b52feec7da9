"""A .tflite file in LiteRT's own interpreter, on this machine's processor."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from taut.errors import ArgumentError
from taut.exporting.held_against import WrittenModel
from taut.exporting.litert.litert_packages import LITERT, runtime_name
from taut.exporting.onnx.trace import widened
from taut.networks.calls import are_arguments, explained

if TYPE_CHECKING:
    from pathlib import Path


class LiteRunner:
    """A model that is given a sample and answers with arrays, as `held_against` takes it."""

    def __init__(self, model: Path | bytes, threads: int = 1) -> None:
        kind = LITERT.need("ai_edge_litert.interpreter").Interpreter
        data = model if isinstance(model, bytes) else model.read_bytes()
        try:
            self._interpreter = kind(model_content=data, num_threads=threads)
            self._run = self._interpreter.get_signature_runner()
        except Exception as error:  # of its own kinds
            raise ArgumentError(
                f"ai-edge-litert does not take the model: {str(error).splitlines()[0]}"
            ) from error
        self.inputs: dict[str, Any] = dict(self._run.get_input_details())

    def feed(self, sample: object) -> dict[str, np.ndarray]:
        """A sample as the model's inputs: by name, or in order."""
        if isinstance(sample, Mapping):
            given = {str(name): value for name, value in sample.items()}
        else:
            values = sample if are_arguments(sample) else (sample,)
            given = {f"args_{at}": value for at, value in enumerate(values)}
        missing = self.inputs.keys() - given.keys()
        if missing:
            raise ArgumentError(
                f"the model takes {', '.join(self.inputs)}; the sample has no "
                f"{', '.join(sorted(missing))}"
            )
        return {
            name: np.ascontiguousarray(given[name], detail["dtype"])
            for name, detail in self.inputs.items()
        }

    def __call__(self, sample: object) -> list[np.ndarray]:
        """What it answers, outputs in order; floats as float32.

        Raises:
            ArgumentError: the sample does not fit; tells its shapes.
        """
        with explained("ai-edge-litert does not run the sample", sample):
            found = self._run(**self.feed(widened(sample)))
        return [np.asarray(found[name]) for name in sorted(found, key=_place)]

    def written(self, name: str) -> WrittenModel:
        """This model, for the check."""
        return WrittenModel(name, runtime_name(), self)


def _place(name: str) -> tuple[int, str]:
    """The place of an output that is called `output_3`."""
    found = re.search(r"(\d+)$", name)
    return (int(found[1]) if found else 0, name)
