"""What has to be installed to run a model: told whole, before the work, from the model's kind."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from taut.errors import ArgumentError
from taut.io.names import nearest
from taut.io.stores import url_of
from taut.networks.callables import names_callable

_NAMES: Final = {"torch": "PyTorch"}
_FOLDER: Final = (("torch", "transformers"), "hf")
_BY_SUFFIX: Final = {
    ".onnx": (("torch", "onnx"), "onnx"),
    ".gguf": (("torch", "transformers", "gguf"), "hf,gguf"),
}


def need_to_run(spec: object) -> None:
    """Refuse a model that cannot be run for want of what an extra installs; imports nothing.

    Raises:
        ArgumentError: it is not there; or a package is missing: the message names all that are, and
            what to type. Or it is an adapter, which runs as a part of another model alone.
    """
    if not isinstance(spec, (str, Path)):  # a module, whose framework is there
        return
    _refuse_missing(spec)
    _refuse_adapter(Path(spec))
    packages, extra = _taken(spec)
    missing = [_NAMES.get(one, one) for one in packages if not _is_there(one)]
    if missing:
        raise ArgumentError(
            f"{spec}: to run it takes {' and '.join(missing)}: pip install 'taut[{extra}]'"
        )


def _refuse_missing(spec: str | Path) -> None:
    """Refuse what is not there: it is said before what running it would take."""
    code = names_callable(str(spec))
    path = Path(str(spec).rpartition(":")[0]) if code else Path(spec)
    if url_of(spec) is not None or path.exists():
        return
    beside = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
    what = "file" if code else "file or folder"
    raise ArgumentError(f"{path}: no such {what}{nearest(path.name, beside)}")


def _refuse_adapter(folder: Path) -> None:
    """Refuse a folder of peft's (LoRA and its kin) without the model that it adapts."""
    if not (folder / "adapter_config.json").is_file() or (folder / "config.json").is_file():
        return
    raise ArgumentError(
        f"{folder}: is an adapter (LoRA), which runs within its model alone; leave calib and train "
        "out, or merge the two (peft: merge_and_unload().save_pretrained(FOLDER)) and give FOLDER"
    )


def _taken(spec: str | Path) -> tuple[tuple[str, ...], str]:
    """The packages that run a model, and the extra that brings them."""
    if names_callable(str(spec)):
        return ("torch",), "torch"
    if url_of(spec) is not None:
        return _FOLDER
    return _BY_SUFFIX.get(Path(spec).suffix.lower(), _FOLDER)


def _is_there(package: str) -> bool:
    if package in sys.modules:
        return sys.modules[package] is not None
    return find_spec(package) is not None
