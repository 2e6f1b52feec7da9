"""An .onnx file as a module, so that whatever judges modules judges it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from taut.networks.onnx_packages import need
from taut.networks.onnx_session import open_session
from taut.networks.onnx_values import GraphInputs, as_output

if TYPE_CHECKING:
    import torch
    from onnxruntime import InferenceSession

# In the file's metadata: tensor, tuple or dict; after a colon the one that stands for the answer.
OUTPUTS_KEY: Final = "taut.outputs"


class Answers(dict[str, object]):
    """A model's named outputs: by name, as attributes, or by their place."""

    def __getattr__(self, name: str) -> object:
        """Give an output by its name."""
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the graph has no output {name!r}") from None

    def __getitem__(self, key: str | int | slice) -> object:
        """Give an output by its name or its place."""
        if isinstance(key, str):
            return super().__getitem__(key)
        return tuple(self.values())[key]

    def to_tuple(self) -> tuple[object, ...]:
        """All outputs in order."""
        return tuple(self.values())


def open_onnx(
    path: Path, like: torch.nn.Module | None = None, *, threads: int = 0
) -> torch.nn.Module:
    """A module that runs an .onnx file in onnxruntime on the CPU.

    It is called as the module it came from: arguments in order or by name; the answer is a
    tensor, a tuple, or a mapping whose entries are attributes too. `like` lends its `config`.

    Raises:
        ArgumentError: the extra is missing; later, a call that does not fit the graph.
    """
    need("torch")
    need("onnxruntime")
    module = _onnx_module()(open_session(path, threads=threads))
    if like is not None and hasattr(like, "config"):
        module.config = like.config
    return module.eval()


@cache
def _onnx_module() -> Callable[[InferenceSession], torch.nn.Module]:
    import torch

    class OnnxModule(torch.nn.Module):
        """Runs one session; it has no parameters of its own."""

        def __init__(self, session: InferenceSession) -> None:
            super().__init__()
            self.session = session
            self.inputs = GraphInputs.of(session)
            self.outputs = [output.name for output in session.get_outputs()]
            told = session.get_modelmeta().custom_metadata_map.get(OUTPUTS_KEY)
            usual = "tensor" if len(self.outputs) == 1 else "tuple"
            self.kind: str
            self.main: str
            self.kind, _, self.main = (told or usual).partition(":")

        def forward(self, *args: object, **kwargs: object) -> object:
            """Run the graph on tensors."""
            found = self.session.run(None, self.inputs.take(args, kwargs))
            values = [as_output(value) for value in found]
            if self.main in self.outputs:
                return values[self.outputs.index(self.main)]
            if self.kind == "dict":
                return Answers(zip(self.outputs, values, strict=True))
            return values[0] if self.kind == "tensor" else tuple(values)

    return OnnxModule
