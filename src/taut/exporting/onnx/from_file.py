"""ONNX as what an export makes: the network is built, filled from the file, traced and run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from taut.container import TautFile
from taut.exporting.check import size_words
from taut.exporting.filled_network import example_batches, filled_network
from taut.exporting.onnx.usual_form import form_for
from taut.exporting.onnx.write import export_onnx
from taut.exporting.request import ExportRequest
from taut.exporting.result import Export
from taut.exporting.scored import scored

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

    from taut.networks import ModelSpec

SENTENCE: Final = "sentence_embedding"


def export_network(
    file: TautFile, request: ExportRequest, network: ModelSpec, companions: Path | None
) -> Export:
    """Trace the network with the file's values, and run what was written against it.

    `companions` is the folder that describes the network, if it is one of transformers; else
    `network` is the module, or `file.py:function`.

    Raises:
        ArgumentError: there is no batch to trace it with, or it cannot be exported.
        VerifyError: the runtime's answer is another.
    """
    out = request.out
    loaded = filled_network(file, out, network, companions)
    batches = example_batches(loaded, request.calib, "ONNX")
    form = form_for(file, request)
    before = None if request.score is None else scored(loaded.module, request.score)
    done = export_onnx(
        _with_usual_outputs(loaded.module),
        batches[0],
        out,
        form,
        batches=batches if request.calib is not None else None,
        force=request.force,
    )
    words = size_words(file.index.origin.nbytes, file.size, done.size)
    notes = [*done.notes, f"{form.weights} weights: {words}"]
    if before is not None and request.score is not None:
        from taut.networks.onnx_module import open_onnx

        after = scored(open_onnx(out, like=loaded.module), request.score)
        notes.append(f"{after[0]} {before[1]:.4f} in PyTorch, {after[1]:.4f} in onnxruntime")
    return replace(done, notes=tuple(notes))


def _with_usual_outputs(module: torch.nn.Module) -> torch.nn.Module:
    """The module, or of a sentence encoder one whose outputs have the names that clients look for.

    Pipelines of transformers.js take `last_hidden_state` and pool it themselves; others take
    `sentence_embedding`, which is what the module itself gives. Other networks of transformers name
    their outputs so already.
    """
    if find_spec("sentence_transformers") is None:
        return module
    from sentence_transformers import SentenceTransformer

    encoder = getattr(module, "encoder", None)
    if not isinstance(encoder, SentenceTransformer):
        return module
    return _named_embeddings()(encoder).eval()


@cache
def _named_embeddings() -> Callable[[SentenceTransformer], torch.nn.Module]:
    """Makes a network of an encoder, with the outputs' usual names."""
    import torch

    class NamedEmbeddings(torch.nn.Module):
        def __init__(self, encoder: SentenceTransformer) -> None:
            super().__init__()
            self.encoder = encoder
            self.main_output = SENTENCE

        def forward(self, **features: object) -> dict[str, object]:
            found = self.get_submodule("encoder")(dict(features))
            states = found.get("token_embeddings")
            named = {} if states is None else {"last_hidden_state": states}
            return {**named, SENTENCE: found[SENTENCE]}

    return NamedEmbeddings
