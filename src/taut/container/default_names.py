"""Where a verb writes when nobody says: beside the input, under a name that says what it is."""

from __future__ import annotations

from pathlib import Path

from taut.container.find import as_path
from taut.errors import ArgumentError
from taut.io.file_objects import is_stream
from taut.io.model_file import path_of
from taut.io.staged import told_paths

_INDEX = ".index.json"
_FILE = ".taut.safetensors"
_FOLDER = "-taut"


def beside(path: Path) -> Path:
    """The path that outputs are named after: of what lies in a store a name in this folder.

    >>> beside(Path("m/net.safetensors")).as_posix()
    'm/net.safetensors'
    """
    told = told_paths(str(path))
    return path if told == str(path) else Path(told.rstrip("/").rsplit("/", 1)[-1])


def _named(folder: Path) -> Path:
    """The folder by a name, which "." and ".." have not; any other path as it was written."""
    return folder if folder.name not in ("", "..") else folder.resolve()


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
        folder = _named(model)
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
        folder = _named(file)
        stem = folder.name.removesuffix(_FOLDER)
        return folder.with_name(stem if stem != folder.name else stem + "-restored")
    if file.name.endswith(_FILE):
        return file.with_name(file.name.removesuffix(_FILE) + suffix)
    return file.with_name(file.stem + ".restored" + suffix)


def page_path(file: Path, other: Path | None = None) -> Path:
    """The output of `report`: beside the file, or the folder, under its name, or that of both.

    >>> page_path(Path("m/net.taut.safetensors")).as_posix()
    'm/net.html'
    >>> page_path(Path("m/a.taut.safetensors"), Path("b.taut.safetensors")).as_posix()
    'm/a-b.html'
    """
    if other is not None:
        return page_path(file).with_name(f"{page_path(file).stem}-{page_path(other).stem}.html")
    file = _named(file) if file.is_dir() else file
    file = beside(file)
    name = file.name.removesuffix(".safetensors").removesuffix(".taut")
    return file.with_name(f"{name}.html")


def named_output(model: object, given: object, *, dry_run: bool = False) -> Path | None:
    """Where `compress` writes: what is given, or beside the model, under its name.

    Raises:
        ArgumentError: what is given is no path; or nothing is, and the model has no name.

    >>> named_output("m/net.pt", None).as_posix()
    'm/net.taut.safetensors'
    """
    if given is not None:
        return None if dry_run and is_stream(given) else as_path(given, "what to write")
    path = path_of(model)
    if dry_run:
        return None
    if path is None:
        raise ArgumentError(f"dst: a {type(model).__name__} has no name; say where to write")
    if str(path) != (told := told_paths(str(path))):
        raise ArgumentError(f"dst: {told} is not on this machine; say where to write")
    return compressed_path(path)
