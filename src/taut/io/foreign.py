"""What to do with files of other frameworks: each is told what it is, and a line that leads on.

Nothing of a file is run: of a pickle the names of the classes are read, never called.
"""

from __future__ import annotations

import ast
import pickletools
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from taut.errors import FormatError

_PYTHON: Final = "from Python: "
_DICT: Final = 'taut.compress({arrays}, "{stem}.taut.safetensors")'
_TF2ONNX: Final = (
    "convert it to ONNX (pip install tf2onnx; python -m tf2onnx.convert {given} --output "
    "{stem}.onnx), and give that"
)
KERAS: Final = (
    'with model = keras.saving.load_model("{name}"), or the one whose weights these are, '
    + _PYTHON
    + _DICT.format(arrays="{{w.path: numpy.array(w) for w in model.weights}}", stem="{stem}")
    + '; or model.export("{stem}.onnx", format="onnx"), and give that'
)
_FLAX: Final = _PYTHON + _DICT.format(
    arrays='flax.traverse_util.flatten_dict({read}, sep=".")',
    stem="{stem}",
)
_BUILT: Final = "compress what it was built from"
_TREES: Final = "trees have no weights that Taut compresses"

# Files by their first bytes, and where these stand.
_GGML: Final = "a GGML file, of before GGUF; convert it with llama.cpp's scripts, and give that"
MAGIC: Final = (
    (b"\x89HDF", 0, f"an HDF5 file (Keras); {KERAS}"),
    (
        b"\x93NUMPY",
        0,
        f"an array of numpy; {_PYTHON}"
        + _DICT.format(arrays='{{"w": numpy.load("{name}")}}', stem="{stem}"),
    ),
    (b"TFL3", 4, "a LiteRT model; " + _TF2ONNX.replace("{given}", "--tflite {name}")),
    (b"ftrt", 0, f"an engine of TensorRT; {_BUILT}"),
    *((magic, 0, _GGML) for magic in (b"lmgg", b"fmgg", b"tjgg", b"algg")),
)
ARRAYS: Final = "an archive of numpy arrays; from Python: " + _DICT.format(
    arrays='dict(numpy.load("{name}"))', stem="{stem}"
)
# Files that their first bytes do not tell, by how their names end.
SUFFIXES: Final = {
    ".h5": f"is a model of Keras, or damaged; {KERAS}",
    ".npz": "is no archive of numpy, or damaged; save it again",
    ".npy": "is no array of numpy, or damaged; save it again",
    ".msgpack": "is a file of Flax; " + _FLAX.replace(
        "{read}", 'flax.serialization.msgpack_restore(open("{name}", "rb").read())'
    ),
    ".pb": "is a graph of TensorFlow; " + _TF2ONNX.replace(
        "{given}", "--graphdef {name} --inputs NAMES --outputs NAMES"
    ),
    ".mlmodel": f"is a model of Core ML; {_BUILT}, and taut export FILE OUT.mlpackage",
    ".plan": f"is an engine of TensorRT; {_BUILT}",
    ".engine": f"is an engine of TensorRT; {_BUILT}",
    ".ubj": f"is a model of XGBoost; {_TREES}",
    ".cbm": f"is a model of CatBoost; {_TREES}",
}  # fmt: skip
# Folders by a file in them.
_FOLDERS: Final = (
    ("saved_model.pb", "is a SavedModel of TensorFlow; "
     + _TF2ONNX.replace("{given}", "--saved-model {name}")),
    ("_CHECKPOINT_METADATA", "is a checkpoint of Orbax; "
     + _FLAX.replace("{read}", 'orbax.checkpoint.StandardCheckpointer().restore(PATH)')),
    ("checkpoint",
     "is a checkpoint of TensorFlow; load it into its model, and export that to ONNX"),
    ("Manifest.json", f"is a package of Core ML; {_BUILT}"),
)  # fmt: skip
# Pickles by the package whose class they name first.
_PICKLED: Final = {
    "sklearn": "its networks and linear models go as arrays, "
    'taut.compress({"coef": model.coef_}, "model.taut.safetensors") from Python; ' + _TREES,
    "xgboost": _TREES,
    "lightgbm": _TREES,
    "catboost": _TREES,
}
_LOOKED_AT: Final = 1 << 16  # bytes of a pickle
_OURS: Final = frozenset(
    {"builtins", "__builtin__", "collections", "copyreg", "copy_reg", "joblib"}
)


def filled(told: str, path: Path) -> str:
    """What is told of files of a kind, of this one."""
    return told.format(name=path.name, stem=path.stem)


def why_openvino(first: bytes) -> str | None:
    """That a file which begins so is a network of OpenVINO; else None."""
    if first.lstrip().startswith(b"<?xml") and b"<net name=" in first:
        return f"is a network of OpenVINO; {_BUILT}"
    return None


def why_foreign_folder(folder: Path) -> str | None:
    """What a folder without weights is, and what to do, where another framework wrote it."""
    for name, told in _FOLDERS:
        if (folder / name).is_file():
            return told.format(name=folder, stem=folder.name)
    return None


def why_pickled(path: Path) -> str:
    """What a pickle is that torch.save did not write, and what to do."""
    named = next((one for one in _named(path) if one.partition(".")[0] not in _OURS), "")
    package = named.partition(".")[0]
    if package in _PICKLED:
        return f"is a pickle of {package} ({named}); {_PICKLED[package]}"
    holds = f", with an object of {named}" if package not in ("", "numpy", "torch") else ""
    return (
        f"refused: it is a pickle that torch.save did not write{holds}; only a reader that runs "
        f"code could load it. If you trust the file and it is a dict of arrays, {_PYTHON}"
        + filled(_DICT.replace("{arrays}", 'pickle.load(open("{name}", "rb"))'), path)
    )


def refuse_code(path: Path) -> None:
    """Refuse a file of Python, for which a function in it has to be named.

    Raises:
        FormatError: it is one; the message names those that it has.
    """
    if path.suffix != ".py":
        return
    found = ", ".join(f"{path}:{name}" for name in _functions(path)[:4])
    raise FormatError(
        f"{path}: is code; name the function in it that gives the model, as "
        f"{found or f'{path}:model'}"
    )


def _functions(path: Path) -> list[str]:
    """Functions that take no arguments, and then classes."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return []
    plain = [one for one in tree.body if isinstance(one, ast.FunctionDef)]
    named = [one.name for one in plain if not (one.args.args or one.args.kwonlyargs)]
    return named + [one.name for one in tree.body if isinstance(one, ast.ClassDef)]


def _named(path: Path) -> Iterator[str]:
    """What the beginning of a pickle names, as `module.name`, without loading any of it."""
    with path.open("rb") as file:
        first = file.read(_LOOKED_AT)
    texts: list[str] = []
    try:
        for code, value, _ in pickletools.genops(first):
            if code.name == "GLOBAL":
                yield str(value).replace(" ", ".")
            elif code.name == "STACK_GLOBAL" and len(texts) > 1:
                yield ".".join(texts[-2:])
            elif isinstance(value, str):
                texts.append(value)
    except Exception:  # cut off, or no pickle any more: its reader says so
        return
