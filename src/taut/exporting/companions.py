"""A Hugging Face folder's config: read, and written again for weights of another form."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Final

from taut.container.find import INDEX_SUFFIX, SUFFIX
from taut.container.model_folder import LOW_BIT_KEY
from taut.container.schema import get_object, load_json
from taut.errors import ArgumentError
from taut.io.folder_files import FolderFiles, read_folder
from taut.io.hub import find_weights

_DTYPE_KEYS: Final = ("torch_dtype", "dtype")
_FLOATS: Final = ("float64", "float32", "float16", "bfloat16")


def read_config(folder: Path) -> dict[str, object]:
    """The `config.json` of a folder.

    Raises:
        ArgumentError: there is none, or it cannot be read.
        FormatError: it is no JSON object.
    """
    path = folder / "config.json"
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ArgumentError(
            f"{path}: cannot be read ({error.strerror}); a model folder has its config there"
        ) from None
    return get_object(load_json(text, str(path)), str(path))


def config_text(config: dict[str, object]) -> str:
    """A config as transformers lays it out."""
    return json.dumps(config, indent=2, ensure_ascii=False) + "\n"


def without_taut(config: dict[str, object]) -> dict[str, object]:
    """A config that no longer says that the weights are in a Taut file."""
    method = config.get("quantization_config")
    if not isinstance(method, dict) or method.get("quant_method") != "taut":
        return config
    plain = {key: value for key, value in config.items() if key != "quantization_config"}
    if LOW_BIT_KEY in plain:  # the weights are as low-bit as the original's
        plain["quantization_config"] = plain.pop(LOW_BIT_KEY)
    return plain


def with_dtype(config: dict[str, object], dtype: str) -> dict[str, object]:
    """A config that names the dtype of its weights, its parts' configs too.

    >>> with_dtype({"torch_dtype": "float32", "text_config": {"dtype": "float32"}}, "float16")
    {'torch_dtype': 'float16', 'text_config': {'dtype': 'float16'}}
    """
    found = _renamed(config, dtype)
    if not any(key in found for key in _DTYPE_KEYS):
        found["dtype"] = dtype
    return found


def _renamed(config: dict[str, object], dtype: str) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in config.items():
        if key in _DTYPE_KEYS and (value is None or value in _FLOATS):
            found[key] = dtype
        elif isinstance(value, dict):
            found[key] = _renamed(value, dtype)
        else:
            found[key] = value
    return found


def copy_companions(source: Path, folder: Path, dtype: str | None = None) -> dict[str, object]:
    """Copy all but the weights of `source` into `folder`; gives the config that is now there.

    The config names `dtype`, where one is given, and no Taut file any more.

    Raises:
        ArgumentError: there is no config, or a file cannot be read.
    """
    config = read_config(source)
    new = without_taut(config)
    if dtype is not None:
        new = with_dtype(new, dtype)
    for path in _files(source).companions:
        target = folder / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(path, target)
        except OSError as error:
            raise ArgumentError(f"{path}: cannot be copied ({error.strerror})") from None
    if new != config:
        (folder / "config.json").write_bytes(config_text(new).encode())
    return new


def companion_notes(source: Path) -> tuple[str, ...]:
    """What `copy_companions` leaves behind, in a line, if there is anything."""
    return _files(source).notes


def _files(source: Path) -> FolderFiles:
    """The files of a folder whose weights are a Taut file, or the original's."""
    held = sorted(entry for end in (INDEX_SUFFIX, SUFFIX) for entry in source.glob(f"*{end}"))
    weights = max(held, key=lambda path: path.name.endswith(INDEX_SUFFIX), default=None)
    if weights is None:
        with contextlib.suppress(ArgumentError):  # a folder with the config alone
            weights = find_weights(source)
    return read_folder(source, weights)
