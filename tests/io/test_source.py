"""What is opened by a path, and what the errors say when it cannot be."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from taut.errors import ArgumentError, TautError
from taut.io import open_source


def test_a_path_may_be_text(tmp_path: Path) -> None:
    save_file({"w": np.arange(3)}, tmp_path / "M.SAFETENSORS")
    assert open_source(str(tmp_path / "M.SAFETENSORS")).load("w").sum() == 3


def test_a_missing_path_names_the_nearest(tmp_path: Path) -> None:
    save_file({"w": np.arange(3)}, tmp_path / "model.safetensors")
    with pytest.raises(ArgumentError, match=r"no such file or folder; nearest: model.safetensors$"):
        open_source(tmp_path / "modle.safetensors")
    with pytest.raises(ArgumentError, match=r"no such file or folder$"):
        open_source(tmp_path / "nowhere" / "at" / "all")


def test_a_name_on_the_hub_says_how_to_fetch_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArgumentError, match="hf download sentence-transformers/some-model"):
        open_source("sentence-transformers/some-model")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model", 'the suffix "" are of a format read here .*rename it'),
        ("arrays.npz", "no archive of numpy"),
        ("model.safetensor", r'the suffix ".safetensor" are of a format .*\.safetensors'),
    ],
)
def test_another_format_is_refused_with_what_to_do(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(bytes(16))
    with pytest.raises(ArgumentError, match=message):
        open_source(tmp_path / name)


def test_no_file_makes_anything_but_a_taut_error(tmp_path: Path) -> None:
    names = ("x.safetensors", "x.index.json", "x.safetensors.index.json", "y/model.safetensors")
    for name in names:
        for content in (b"", b"{}", b"\2" + bytes(7) + b"[]", b"\xff" * 64):
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
            with pytest.raises(TautError, match=r"x\.|y/model|y.model"):
                open_source(path.parent if name.startswith("y") else path)


def test_a_path_that_no_system_takes_is_refused() -> None:
    for path in ("x" * 5000, "x\0y", ""):
        with pytest.raises(ArgumentError, match=r"cannot be read|no such file|no weights|several"):
            open_source(path)
