"""Where a command writes when nobody says: beside the input, under a name that says what it is."""

from __future__ import annotations

from pathlib import Path

_INDEX = ".index.json"
_FILE = ".taut.safetensors"
_FOLDER = "-taut"


def beside(path: Path) -> Path:
    """The path that outputs are named after: of what lies in a store a name in this folder.

    >>> beside(Path("m/net.safetensors")).as_posix()
    'm/net.safetensors'
    """
    from taut.io.staged import told_paths

    told = told_paths(str(path))
    return path if told == str(path) else Path(told.rstrip("/").rsplit("/", 1)[-1])


def compressed_path(model: str | Path) -> Path:
    """The output of `compress`: a file for a file or `file.py:function`, a folder for a folder.

    >>> compressed_path("m/build.py:model").as_posix()
    'm/build.taut.safetensors'
    >>> compressed_path(Path("m/net.safetensors")).as_posix()
    'm/net.taut.safetensors'
    >>> compressed_path(Path("m/net.safetensors.index.json")).as_posix()
    'm/net.taut.safetensors'
    """
    code, colon, _ = str(model).rpartition(".py:")
    model = Path(f"{code}.py" if colon else model)
    if model.is_dir():
        folder = model.resolve()  # a name even for "." and ".."
        return folder.with_name(folder.name + _FOLDER)
    stem = Path(model.name.removesuffix(_INDEX)).stem
    return model.with_name(stem + _FILE)


def restored_path(file: Path, *, suffix: str = ".safetensors") -> Path:
    """The output of `decompress`: the input's name without what `compress` added to it.

    >>> restored_path(Path("m/net.taut.safetensors")).as_posix()
    'm/net.safetensors'
    >>> restored_path(Path("m/renamed.safetensors")).as_posix()
    'm/renamed.restored.safetensors'
    >>> restored_path(Path("m/net.taut.safetensors"), suffix=".onnx").as_posix()
    'm/net.onnx'
    """
    if file.is_dir():
        folder = file.resolve()
        stem = folder.name.removesuffix(_FOLDER)
        return folder.with_name(stem if stem != folder.name else stem + "-restored")
    if file.name.endswith(_FILE):
        return file.with_name(file.name.removesuffix(_FILE) + suffix)
    return file.with_name(file.stem + ".restored" + suffix)
