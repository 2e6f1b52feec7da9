"""Options that are wrong by themselves: told before anything is read, run or printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from taut.errors import ArgumentError

if TYPE_CHECKING:
    from taut.io import Source

_SHIPPED: Final = "default"  # the texts that come with the package
_WEIGHTS: Final = (".safetensors", ".pt", ".pth", ".bin", ".index.json")
_TAUT: Final = ".taut.safetensors"
_OF_FOLDERS: Final = ("config.json", "model.safetensors")  # that a model folder is told by


def check_asked(bits: float | None, size: str | None, max_drop: str | None) -> None:
    """Whether a target can be one of any model.

    Raises:
        ArgumentError: it cannot be read, or no file can have it.
    """
    from taut.planning.max_drop import parse_drop
    from taut.planning.target import check_target

    check_target(bits=bits, size=size)
    if max_drop is not None:
        parse_drop(max_drop)


def check_fits(source: Source, bits: float | None, size: str | None) -> None:
    """Whether a target is one of this model; raises ArgumentError if not."""
    from taut.io.source import parameters_of
    from taut.planning import parse_target

    if bits is not None or size is not None:
        parameters = parameters_of(source)
        parse_target(bits=bits, size=size, original=source.nbytes, parameters=parameters)


def check_data(option: str, value: str | None) -> None:
    """Whether data that an option names is there, and is data, whatever options stand behind it.

    Raises:
        ArgumentError: there is no such file or folder, it is something else, or no such option.
    """
    from taut.cli._kinds import check_kind
    from taut.networks.text_data import text_data

    if value is None or "://" in value:
        return
    code, colon, _ = value.rpartition(".py:")
    name = f"{code}.py" if colon else str(text_data(value).source)
    if name == _SHIPPED:
        return
    check_kind(option, name)
    path = Path(name)
    if path.name.endswith(_TAUT) and path.is_file():
        raise ArgumentError(f"{option}: {path} is a Taut file, and no data; give it as MODEL")
    _check_there(option, path, "file" if path.suffix else "file or folder")


def _check_there(option: str, path: Path, what: str) -> None:
    """Raise ArgumentError where there is no such `what`; names those that are called alike."""
    from taut.io.names import nearest

    if not path.exists():
        near = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
        raise ArgumentError(f"{option}: {path}: no such {what}{nearest(path.name, near)}")


def check_code(option: str, value: str | None) -> None:
    """Whether what an option names as file.py:function is of that form, and the file there.

    Raises:
        ArgumentError: it is not. What is in the file shows when it is run.
    """
    from taut.networks.callables import names_callable

    if value is None:
        return
    if not names_callable(value):
        raise ArgumentError(f'{option}: "{value}": name a function in a file as file.py:function')
    check_data(option, value)


def check_shards(target: Path, shard_size: str | None) -> None:
    """Whether shards are of a size, and go to a folder; ArgumentError if not."""
    from taut.planning.target import parse_bytes

    if shard_size is None:
        return
    parse_bytes(shard_size, "shard_size (--shard-size)")
    if target.suffix == ".safetensors":
        raise ArgumentError(
            f"{target}: shards (--shard-size) become several files; name a folder (-o)"
        )


def check_base(bases: Sequence[str | Path] | None, beside: Mapping[str, object]) -> None:
    """Whether what a delta is to stand on is there, and goes with what is asked `beside` it.

    Raises:
        ArgumentError: there is no such model, or the two do not go together.
    """
    from taut.compression.based import check_beside_base
    from taut.io.stores import url_of

    if bases:
        check_beside_base(beside)
    for base in bases or ():
        if url_of(base) is None:
            _check_there("--base", Path(base), "file or folder")


def check_model(model: str | Path, *, original: bool = False, runs: bool = False) -> None:
    """Whether a MODEL is none of what is no model; ArgumentError if it is, or does not serve.

    `original` refuses a Taut file, whose bytes are coded already; `runs` refuses weights alone, and
    what runs by something that is not installed.
    """
    _check_serves(model, original=original, runs=runs)
    if runs:
        from taut.networks.needed import need_to_run

        need_to_run(model)


def _check_serves(model: str | Path, *, original: bool, runs: bool) -> None:
    from taut.cli._kinds import INDEX, check_kind

    if "://" in str(model) or ".py:" in str(model):
        return
    check_kind("MODEL", model, INDEX)
    path = Path(model)
    if original and path.is_file() and _is_taut(path):
        raise ArgumentError(
            f"{path}: is a Taut file already; give the model that it was made from, or decompress "
            f"it first (taut info {path} says what it came to)"
        )
    if runs and path.is_file() and path.name.lower().endswith(_WEIGHTS):
        raise ArgumentError(
            f"{path}: holds weights alone, and calibration and training run the model; give its "
            "folder with config.json, or file.py:function that builds it"
        )


def _is_taut(path: Path) -> bool:
    """Whether a file is a Taut file, whatever its name; what cannot be read is told later."""
    from taut.errors import TautError
    from taut.evaluation.contenders import is_taut

    try:
        return is_taut(path)
    except (TautError, OSError):
        return False


def check_plan(plan: Path | None) -> None:
    """Whether a plan is one: a preset's name, or a file that can be read; ArgumentError if not."""
    from taut.cli._kinds import PLAN, check_kind
    from taut.planning import load_plan

    if plan is not None:
        check_kind("--plan", plan, PLAN)
        load_plan(plan)


def check_new(path: Path, *, force: bool, told: str = "") -> None:
    """Whether an output has a folder, and is new, or may be replaced; else names a free one.

    `told` is what was asked for, as "8x", which the name is to say.

    Raises:
        ArgumentError: the folder is missing, or the output exists, and not `force`.
    """
    from taut.container.free_name import free_name
    from taut.container.model_folder import FILE_NAME
    from taut.io.stores import store_hint, url_of

    if url_of(path) is None and not path.resolve().parent.is_dir():
        hint = store_hint(path) or "; make it first"
        raise ArgumentError(f"{path}: the folder {path.parent} does not exist{hint}")
    taken = [path / name for name in (FILE_NAME, *_OF_FOLDERS)] if path.is_dir() else [path]
    if not force and any(one.is_file() for one in taken):
        raise ArgumentError(
            f"{path}: exists; give -f to replace it, or -o {free_name(path, told)} to keep both"
        )
