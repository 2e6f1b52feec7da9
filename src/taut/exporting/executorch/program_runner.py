"""A .pte file in ExecuTorch's runtime, on this machine's processor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from taut.errors import ArgumentError
from taut.exporting.device.quiet_native import quiet_native
from taut.exporting.executorch.executorch_packages import EXECUTORCH, runtime_name
from taut.exporting.held_against import WrittenModel
from taut.exporting.onnx.trace import widened
from taut.networks.calls import are_arguments, explained

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np


class ProgramRunner:
    """A program that is given a sample and answers with arrays; `names` are those of its inputs."""

    def __init__(self, path: Path, names: Sequence[str] = ()) -> None:
        runtime = EXECUTORCH.need("executorch.runtime")
        self._names = tuple(names)
        try:
            with quiet_native():
                self._program = runtime.Runtime.get().load_program(path.read_bytes())
                self._run: Any = self._program.load_method("forward")
        except Exception as error:  # of its own kinds
            raise ArgumentError(
                f"ExecuTorch does not take the program: {str(error).splitlines()[0]}"
            ) from error

    def __call__(self, sample: object) -> list[np.ndarray]:
        """What it answers, outputs in order.

        Raises:
            ArgumentError: the sample does not fit; tells its shapes.
        """
        with explained("ExecuTorch does not run the sample", sample), quiet_native():
            found = self._run.execute(self._feed(widened(sample)))
            return [one.clone().numpy() for one in found]

    def _feed(self, sample: object) -> tuple[Any, ...]:
        if isinstance(sample, Mapping):  # in the order of the example that it was made with
            return tuple(sample[name].contiguous() for name in self._names or sample)
        values: Any = sample if are_arguments(sample) else (sample,)
        return tuple(value.contiguous() for value in values)

    def written(self, name: str) -> WrittenModel:
        """This program, for the check."""
        return WrittenModel(name, runtime_name(), self)
