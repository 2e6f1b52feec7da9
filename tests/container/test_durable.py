"""What takes a file's name is on the disk first: a power cut leaves the old file or the new one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import taut
from taut.container import AtomicFile, made_folder, write_file

NAMING = ("replace", "rename", "link")


@dataclass
class Disk:
    """The inodes that were flushed, and those that were given a name, in their order."""

    events: list[tuple[str, int]] = field(default_factory=list)

    def watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real = os.fsync

        def fsync(handle: int) -> None:
            real(handle)
            self.events.append(("flushed", os.fstat(handle).st_ino))

        monkeypatch.setattr(os, "fsync", fsync)
        for name in NAMING:
            monkeypatch.setattr(os, name, self._naming(getattr(os, name)))

    def _naming(self, real: Callable[..., None]) -> Callable[..., None]:
        def named(source: Any, target: Any, **words: Any) -> None:
            about = os.stat(source)
            inodes = [about.st_ino] if about.st_size else []  # empty: whether names can be given
            if os.path.isdir(source):  # its files get their names with it
                inodes += [path.stat().st_ino for path in Path(source).rglob("*")]
            real(source, target, **words)
            self.events += [("named", inode) for inode in inodes]

        return named

    def flushed_first(self, path: Path) -> bool:
        """Whether the bytes of a file were flushed before it got a name."""
        inode = path.stat().st_ino
        named = self.events.index(("named", inode))
        return ("flushed", inode) in self.events[:named]


def original(folder: Path) -> Path:
    """A model folder with one file of weights and a config."""
    folder.mkdir()
    save_file(
        {"w": np.arange(4096, dtype=np.float32).reshape(64, 64)}, folder / "model.safetensors"
    )
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    return folder


def atomic(home: Path, out: Path) -> None:
    with AtomicFile(out) as file:
        file.write(b"bytes")
        file.commit()


def small(home: Path, out: Path) -> None:
    write_file(out, b"bytes", force=False)


def compressed(home: Path, out: Path) -> None:
    taut.compress(home / "model.safetensors", out)


def compressed_folder(home: Path, out: Path) -> None:
    taut.compress(home, out)


def decompressed(home: Path, out: Path) -> None:
    taut.compress(home, home / "model.taut.safetensors")
    taut.decompress(home / "model.taut.safetensors", out.with_suffix(".safetensors"))


def exported(home: Path, out: Path) -> None:
    taut.compress(home, home / "model.taut.safetensors")
    taut.export(home / "model.taut.safetensors", out.with_suffix(".safetensors"))


def exported_folder(home: Path, out: Path) -> None:
    taut.compress(home, home.parent / "small")
    taut.export(home.parent / "small", out, to="safetensors")


def others_folder(home: Path, out: Path) -> None:
    with made_folder(out, force=False) as made:  # as another library writes into it
        (made / "bytes").write_bytes(b"bytes")


@pytest.mark.skipif(os.name == "nt", reason="inodes as POSIX has them")
@pytest.mark.parametrize(
    "write",
    [
        others_folder,
        atomic,
        small,
        compressed,
        compressed_folder,
        decompressed,
        exported,
        exported_folder,
    ],
)
def test_bytes_are_on_the_disk_before_they_have_a_name(write, tmp_path, monkeypatch):
    home = original(tmp_path / "home")
    (tmp_path / "new").mkdir()
    disk = Disk()
    disk.watch(monkeypatch)
    write(home, tmp_path / "new" / "out")
    monkeypatch.undo()
    made = [path for path in (tmp_path / "new").rglob("*") if path.is_file()]
    assert made
    assert [path.name for path in made if not disk.flushed_first(path)] == []


@pytest.mark.skipif(os.name == "nt", reason="folders cannot be opened there")
def test_the_new_name_is_on_the_disk_too(tmp_path, monkeypatch):
    disk = Disk()
    disk.watch(monkeypatch)
    atomic(tmp_path, tmp_path / "out")
    monkeypatch.undo()
    assert disk.events[-1] == ("flushed", tmp_path.stat().st_ino)
