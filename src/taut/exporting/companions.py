"""A Hugging Face folder's config: read, and written again for weights of another form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from taut.container.schema import get_object, load_json
from taut.errors import ArgumentError
from taut.io.hub import find_companions

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
    if isinstance(method, dict) and method.get("quant_method") == "taut":
        return {key: value for key, value in config.items() if key != "quantization_config"}
    return config


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
    """Copy config and tokenizer files into `folder`; gives the config that is now there.

    The config names `dtype`, where one is given, and no Taut file any more.

    Raises:
        ArgumentError: there is no config, or a file cannot be read.
    """
    config = read_config(source)
    new = without_taut(config)
    if dtype is not None:
        new = with_dtype(new, dtype)
    for path in find_companions(source):
        target = folder / path.relative_to(source)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ArgumentError(f"{path}: cannot be read ({error.strerror})") from None
        if path == source / "config.json" and new != config:
            data = config_text(new).encode()
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return new
