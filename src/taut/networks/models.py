"""A model that runs, for calibrated work: from a folder, a file of code, or memory.

Surprise: where sentence-transformers is installed, a folder of its kind is loaded as the whole
sentence encoder, pooling and all, since what it must keep is the embedding. Nothing is fetched, and
no code of a folder runs.
"""

from __future__ import annotations

import contextlib
import json
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

from taut.errors import ArgumentError
from taut.extras import need_extra
from taut.io import Source, open_source
from taut.io.content import kind_of
from taut.io.holes import fill_holes
from taut.io.model_file import ModelFile, path_of
from taut.io.names import nearest
from taut.io.pytorch import is_module
from taut.io.quantized import as_floats
from taut.io.wrappers import refuse_programs
from taut.networks.callables import call, load_named, names_callable
from taut.networks.calls import explained, told
from taut.networks.copies import copy_module
from taut.networks.float_folder import float_folder
from taut.networks.fold_norms import NOTHING_FOLDED, FoldedNorms
from taut.networks.needed import need_to_run
from taut.networks.parameter_names import Names, map_names
from taut.networks.precision import widen
from taut.networks.pruned_weights import effective
from taut.networks.silence import silence
from taut.networks.tokens import Tokenize, open_tokenizer, wrap_tokenizer

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

ModelSpec: TypeAlias = "str | Path | ModelFile | torch.nn.Module"


@dataclass(frozen=True)
class LoadedModel:
    """A network in evaluation mode, and how it belongs to the tensors that are to be stored.

    `source` is what `taut.io.open_source` takes; `names` maps its tensors' names to those of
    `module`'s parameters and buffers. `unmapped` are tensors of the source that the network has
    not, `missing` are parameters of the network that the source has not. `tokenize` makes batches
    of texts, None where the model came without a tokenizer. `gradients` is False of a network that
    has none, which is run by onnxruntime. `notes` are for the user. `folded` says what became
    of its batch norms.
    """

    module: torch.nn.Module
    tokenize: Tokenize | None
    names: Mapping[str, str]
    source: Path | torch.nn.Module
    unmapped: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    gradients: bool = True
    notes: tuple[str, ...] = ()
    folded: FoldedNorms = NOTHING_FOLDED


def open_model(spec: ModelSpec, *, widened: bool = True) -> LoadedModel:
    """Open a model that can be run, on the CPU.

    `spec` is a Hugging Face folder, an `.onnx` file, a `.gguf` file (read by transformers),
    `file.py:function` that gives an nn.Module, or an nn.Module, of which a copy is made, out of
    what wraps it (torch.compile, DataParallel).
    Half-precision weights are `widened` to float32, which changes no value, or read as they are.
    Those of a safetensors folder that keep their type stay on disk, mapped. Weights of
    torch.nn.utils.prune are those that the mask leaves.

    Raises:
        ArgumentError: there is no such model, it cannot be run, or an extra is missing.
    """
    need_to_run(spec)
    if is_module(spec):
        return _of_module(spec, widened)
    refuse_programs(spec)
    path = path_of(spec)
    if path is None:
        raise ArgumentError(
            f"a {type(spec).__name__} is no model to run; pass a folder, file.py:function "
            "or an nn.Module"
        )
    if names_callable(str(spec)):
        return _of_module(_built(str(spec)), widened)
    fill_holes(path)
    if path.is_dir():
        return _from_folder(path, widened)
    if path.exists():
        return _from_file(path, widened)
    beside = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
    raise ArgumentError(f"{path}: no such folder{nearest(path.name, beside)}")


def _from_file(path: Path, widened: bool) -> LoadedModel:
    if path.is_file() and _is_graph(path):
        return _from_onnx(path)
    if path.is_file() and kind_of(path) == "gguf":
        return _from_gguf(path, widened)
    raise ArgumentError(
        f"{path}: holds weights alone, and calibration runs the model; give its folder with "
        "config.json, or file.py:function that builds it"
    )


def _is_graph(path: Path) -> bool:
    return path.suffix.lower() == ".onnx" or kind_of(path) == "onnx"


def _from_onnx(path: Path) -> LoadedModel:
    from taut.networks.onnx_network import open_network

    module, names = open_network(path)
    return LoadedModel(module, None, names, path, gradients=False)


def _from_gguf(path: Path, widened: bool) -> LoadedModel:
    """The network of a GGUF file, of a folder that lasts as long as the module does."""
    from taut.networks.gguf_folder import gguf_folder

    with contextlib.ExitStack() as stack:
        made = stack.enter_context(gguf_folder(path))
        loaded = _from_folder(made.path, widened)
        weakref.finalize(loaded.module, stack.pop_all().close)
        return replace(loaded, notes=(*loaded.notes, *made.notes))


def _of_module(source: torch.nn.Module, widened: bool) -> LoadedModel:
    """A copy to run, and perhaps to change, beside the module whose tensors are to be stored."""
    refuse_programs(source)
    source, notes = effective(source)
    module = _ready(copy_module(source), widened)
    names = map_names(open_source(source), module)
    return LoadedModel(
        module, None, names.found, source, names.unmapped, names.missing, notes=notes
    )


def _built(spec: str) -> torch.nn.Module:
    """The module that the user's function gives, or that the name stands for."""
    found = load_named(spec)
    if not is_module(found):
        if not callable(found):
            raise ArgumentError(f"{spec}: a {type(found).__name__} is no nn.Module, nor makes one")
        found = call(found, spec)
    if not is_module(found):
        raise ArgumentError(f"{spec}: gave a {type(found).__name__}; it must give an nn.Module")
    return found


def _ready(module: torch.nn.Module, widened: bool) -> torch.nn.Module:
    with explained(f"module {type(module).__name__}: eval() failed"):
        return (widen(module) if widened else module).eval()


def _from_folder(folder: Path, widened: bool) -> LoadedModel:
    source = as_floats(open_source(folder))
    with float_folder(folder, source) as whole:
        return _from_floats(folder, whole, source, widened)


def _from_floats(folder: Path, whole: Path, source: Source, widened: bool) -> LoadedModel:
    """The network of `folder`, loaded from `whole`: itself, or what stands for it in floats."""
    if (folder / "modules.json").is_file() and find_spec("sentence_transformers"):
        return replace(_sentence_encoder(whole, source, widened), source=folder)
    if not (folder / "config.json").is_file():
        raise ArgumentError(
            f"{folder}: no config.json, so the network is not known; give file.py:function that "
            "builds it"
        )
    transformers = need_extra("transformers", "hf", f"{folder}: to run it takes")
    kind = _architecture(folder, transformers.PreTrainedModel)
    module, names = _pretrained(kind or transformers.AutoModel, whole, source, widened)
    if kind is not None and names.missing:
        # The named class has a head that the file does not: its outputs would be noise.
        bare, bare_names = _pretrained(transformers.AutoModel, whole, source, widened)
        if len(bare_names.missing) < len(names.missing):
            module, names = bare, bare_names
    tokenize = open_tokenizer(folder, module)
    return LoadedModel(module, tokenize, names.found, folder, names.unmapped, names.missing)


def _architecture(folder: Path, parent: type) -> type | None:
    """The class of transformers that the config names, if there is such a one."""
    import transformers

    try:
        named = json.loads((folder / "config.json").read_bytes()).get("architectures")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise ArgumentError(f"{folder}/config.json: cannot be read ({told(error)})") from None
    for name in named if isinstance(named, list) else []:
        kind = getattr(transformers, name, None) if isinstance(name, str) else None
        if isinstance(kind, type) and issubclass(kind, parent):
            return kind
    return None


def _pretrained(
    kind: type, folder: Path, source: Source, widened: bool
) -> tuple[torch.nn.Module, Names]:
    try:
        with silence():
            module = kind.from_pretrained(  # type: ignore[attr-defined]  # transformers has no types
                str(folder), local_files_only=True, trust_remote_code=False
            )
    except Exception as error:  # transformers names no set of errors
        raise ArgumentError(f"{folder}: transformers cannot load it ({told(error)})") from error
    return _ready(module, widened), map_names(source, module)


def _sentence_encoder(folder: Path, source: Source, widened: bool) -> LoadedModel:
    try:
        from sentence_transformers import SentenceTransformer

        with silence():
            encoder = SentenceTransformer(
                str(folder), device="cpu", local_files_only=True, trust_remote_code=False
            )
    except Exception as error:  # nor does sentence-transformers
        raise ArgumentError(
            f"{folder}: sentence-transformers cannot load it ({told(error)})"
        ) from error
    module = _ready(_encoder_network()(encoder), widened)
    names = map_names(source, module)
    # Encoders of images, or of words without context, have none of this kind.
    tokenizer, tokenize = getattr(encoder, "tokenizer", None), None
    if tokenizer is not None and hasattr(tokenizer, "pad_token"):
        tokenize = wrap_tokenizer(tokenizer, module, encoder.max_seq_length)
    return LoadedModel(module, tokenize, names.found, folder, names.unmapped, names.missing)


@cache
def _encoder_network() -> Callable[[SentenceTransformer], torch.nn.Module]:
    """Makes a network from token ids to embeddings, float32 (texts, size), of an encoder.

    Called with a dict, it would write its results into the caller's batch.
    """
    import torch

    class EncoderNetwork(torch.nn.Module):
        def __init__(self, encoder: SentenceTransformer) -> None:
            super().__init__()
            self.encoder = encoder

        def forward(self, **features: object) -> object:
            return self.get_submodule("encoder")(dict(features))["sentence_embedding"]

        def encode(self, *inputs: object, **options: object) -> object:
            """What a score that was written for the encoder itself calls."""
            encode = cast("Callable[..., object]", self.get_submodule("encoder").encode)
            return encode(*inputs, **options)

    return EncoderNetwork
