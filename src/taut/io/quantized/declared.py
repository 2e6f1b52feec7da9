"""What a model's config says of low-bit weights: the method, and its settings.

Surprise: older tools wrote it beside the config, in a file of their own: GPTQ's
`quantize_config.json`, AWQ's `quant_config.json`, ModelOpt's `hf_quant_config.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from taut.errors import FormatError
from taut.io.gguf import FRAME
from taut.io.nest import NEST
from taut.io.onnx import GRAPH
from taut.io.tensor_info import Source

KEY: Final = "quantization_config"
BESIDE: Final[Mapping[str, str]] = {
    "quantize_config.json": "gptq",
    "quant_config.json": "awq",
    "hf_quant_config.json": "modelopt",
}
"""Files beside the config that say of the weights what the config does not, with their method."""

DTYPES: Final = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
_DEEPEST: Final = 50  # lists and objects in one another; a file's index may have a few more
_OWN: Final = "taut"  # the mark of a Taut folder: its weights are coded, not low-bit


@dataclass(frozen=True)
class Declared:
    """The settings of low-bit weights: `method` is the config's quant_method.

    `dtype` is safetensors' name of what the model computes in, None where nothing says; `where`
    names the config in messages.
    """

    method: str
    settings: Mapping[str, object]
    dtype: str | None
    where: str

    def text(self) -> str:
        """As JSON, for `read_declared`."""
        tree = {"config": dict(self.settings), "dtype": self.dtype}
        return json.dumps(tree, ensure_ascii=False, separators=(",", ":"))

    def number(self, *names: str) -> int | None:
        """The whole number at the first of these settings that is there; None if none is.

        Raises:
            FormatError: it is no whole number.
        """
        for name in names:
            value = self.settings.get(name)
            if value is None:
                continue
            if type(value) is not int:
                raise FormatError(f"{self.where}: {name} is {value!r:.40}, and no whole number")
            return value
        return None

    def pair(self, name: str) -> tuple[int, int] | None:
        """The two numbers of a setting; None where it is absent.

        Raises:
            FormatError: it is something else.
        """
        value = self.settings.get(name)
        if value is None:
            return None
        if (
            isinstance(value, list)
            and len(value) == 2
            and all(type(one) is int and one > 0 for one in value)
        ):
            return int(value[0]), int(value[1])
        raise FormatError(f"{self.where}: {name} is {value!r:.40}, and not two sizes")


def read_declared(text: str, where: str) -> Declared | None:
    """Settings from the text of `Declared.text`; None if they are those of no low-bit weights.

    Raises:
        FormatError: it is something else.
    """
    tree = _tree(text, where)
    settings, dtype = tree.get("config"), tree.get("dtype")
    if not isinstance(settings, dict) or dtype not in (None, *DTYPES.values()):
        raise FormatError(f"{where}: is not what says how weights are quantized")
    return _declared(settings, dtype if isinstance(dtype, str) else None, where)


def declared_of(source: Source) -> Declared | None:
    """What the config beside a source's files says of its weights; None where nothing does.

    A config that cannot be read says nothing: whoever runs the network tells.

    Raises:
        FormatError: the settings name no method, or are such as no file can keep.
    """
    folder = folder_of(source)
    if folder is None:
        return None
    dtype = None
    path = folder / "config.json"
    if path.is_file():
        tree = _readable(path)
        dtype = _dtype(tree)
        if (settings := _settings(tree)) is not None:
            return _declared(settings, dtype, str(path))
    for name, method in BESIDE.items():
        path = folder / name
        if path.is_file():
            found = _readable(path)
            inner = found.get("quantization")
            given = inner if isinstance(inner, dict) else found
            return _declared({"quant_method": method, **given}, dtype, str(path)) if given else None
    return None


def folder_of(source: Source) -> Path | None:
    """The folder that a source's files lie in; None of a model in memory, or of ONNX or GGUF."""
    if not source.stamps or {GRAPH, FRAME, NEST} & source.metadata.keys():
        return None
    path = Path(source.identity)
    return path if path.is_dir() else path.parent


def _settings(tree: Mapping[str, object]) -> dict[str, object] | None:
    """The settings in a config, or in that of the text model within it."""
    for part in (tree, *(one for one in tree.values() if isinstance(one, dict))):
        for key in (KEY, "compression_config"):
            found = part.get(key)
            if isinstance(found, dict):
                return found
    return None


def _declared(settings: dict[str, object], dtype: str | None, where: str) -> Declared | None:
    method = settings.get("quant_method")
    if method is None and settings.get("load_in_4bit", settings.get("load_in_8bit")) is not None:
        method = "bitsandbytes"
    if not isinstance(method, str):
        raise FormatError(f"{where}: {KEY} names no quant_method")
    _check(settings, where)
    return None if method == _OWN else Declared(method, settings, dtype, where)


def _dtype(tree: Mapping[str, object]) -> str | None:
    """What the model computes in, safetensors' name."""
    for part in (tree, *(one for one in tree.values() if isinstance(one, dict))):
        for key in ("dtype", "torch_dtype"):
            found = part.get(key)
            if isinstance(found, str) and found in DTYPES:
                return DTYPES[found]
    return None


def _readable(path: Path) -> dict[str, object]:
    """The object in a JSON file; an empty one if there is none."""
    try:
        tree = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return tree if isinstance(tree, dict) else {}


def _tree(text: str, where: str) -> dict[str, object]:
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{where}: not JSON ({error})") from None
    if not isinstance(tree, dict):
        raise FormatError(f"{where}: is not a JSON object")
    return tree


def _check(settings: Mapping[str, object], where: str) -> None:
    """Raise `FormatError` for settings that cannot be written as JSON again, or nest too deeply."""
    try:
        json.dumps(settings, ensure_ascii=False, allow_nan=False).encode()
        deep = _depth(settings) > _DEEPEST
    except (ValueError, RecursionError) as error:  # of Unicode too
        raise FormatError(f"{where}: {KEY} cannot be kept ({error})") from None
    if deep:
        raise FormatError(f"{where}: {KEY} is nested too deeply")


def _depth(tree: object) -> int:
    """How many objects and lists are in one another.

    >>> _depth({"a": [1, {}]})
    3
    """
    if isinstance(tree, (dict, list)):
        inner = tree.values() if isinstance(tree, dict) else tree
        return 1 + max(map(_depth, inner), default=0)
    return 0
