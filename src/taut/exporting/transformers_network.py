"""A model folder's network without its weights: which tensors are those of linear layers."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from taut.errors import ArgumentError
from taut.exporting.companions import read_config, without_taut
from taut.extras import need_extra

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Linears:
    """The linear layers of a network by module name; `head` are those that give its outputs."""

    kind: str
    body: tuple[str, ...]
    head: tuple[str, ...]


def linear_layers(folder: Path) -> Linears:
    """The linear layers of the network that a folder's config describes; no weights are made.

    Raises:
        ArgumentError: transformers is missing, or does not know the network.
    """
    kind, config = network_of(folder)
    import torch

    with torch.device("meta"):
        module: torch.nn.Module = kind._from_config(config)  # type: ignore[attr-defined]
    output = module.get_output_embeddings()  # type: ignore[operator]
    linears = [
        (name, part) for name, part in module.named_modules() if isinstance(part, torch.nn.Linear)
    ]
    return Linears(
        type(module).__name__,
        tuple(name for name, part in linears if part is not output),
        tuple(name for name, part in linears if part is output),
    )


def network_of(folder: Path) -> tuple[type, object]:
    """The class of transformers that a folder's config names, and the config as its own object.

    Raises:
        ArgumentError: transformers is missing, or has no such class.
    """
    for package in ("torch", "transformers"):  # without torch it has no networks
        need_extra(package, "hf", f"{folder}: to know its layers takes")
    import transformers

    named = read_config(folder)
    classes = named.get("architectures")
    first = classes[0] if isinstance(classes, list) and classes else None
    kind = getattr(transformers, first, None) if isinstance(first, str) else None
    if not isinstance(kind, type) or not issubclass(kind, transformers.PreTrainedModel):
        raise ArgumentError(
            f"{folder}/config.json: architectures names {first!r}, which transformers "
            f"{transformers.__version__} does not have"
        )
    try:
        config = transformers.AutoConfig.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # transformers names no set of errors
        raise ArgumentError(f"{folder}: its config cannot be read ({error})") from error
    if without_taut(named) is not named:  # what is loaded here never is a Taut file
        del config.quantization_config
    return kind, config


def can_load() -> bool:
    """Whether transformers is installed, and what it makes networks with."""
    return find_spec("transformers") is not None and find_spec("torch") is not None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No bars and warnings of loaders: what matters is told in our words."""
    logging = import_module("transformers.utils.logging")
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
