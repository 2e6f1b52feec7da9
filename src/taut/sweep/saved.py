"""The finished points of a sweep on disk, a JSON object a line, so that a sweep can go on.

    {"taut frontier": 1, "identity": {"model": "5d41...", "seed": "0", ...}}
    {"point": {"name": "original", "kind": "original", "size": 1078888, ...}}
    {"point": {"name": "2 bits", "kind": "dial", "size": 67284, ...}}
    {"missed": {"name": "0.2 bits", "reason": "..."}}

The first line names what all points are made from: a sweep of anything else fails closed. Which
points are asked for is not in it, so that a longer sweep takes over those of a shorter one. A line
that a crash tore is dropped.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Final

from taut.container import AtomicFile
from taut.errors import ArgumentError, TautError
from taut.journal.lock import Lock
from taut.machine.closing import Closing
from taut.scoring.results import Metric, plain
from taut.sweep.pareto import Missed, Point

_VERSION: Final = 1
_LARGEST: Final = 1 << 24  # bytes of a journal
_ANEW: Final = "give -f (force=True) and no --resume to start afresh, or name another place"


class Points(Closing):
    """The points of one sweep, kept in a file as they come; without a path, in memory alone.

    A context manager that lets go of the file; `discard` removes it.
    """

    def __init__(self, path: Path | None, identity: Mapping[str, str], *, resume: bool) -> None:
        self.path = path
        self._found: dict[str, Point | Missed] = {}
        self._lock: Lock | None = None
        if path is None:
            return
        self._lock = Lock(path.with_name(f"{path.name}.lock"))
        try:
            lines = _read(path) if resume else []
            if lines:
                _check_same(path, lines[0], identity)
                self._found = _points(path, lines[1:])
            self._write_anew(identity)  # whole: without what a crash tore
        except BaseException:
            self._lock.release()
            raise

    def get(self, name: str) -> Point | Missed | None:
        """The point of this name, if it is finished."""
        return self._found.get(name)

    def put(self, one: Point | Missed) -> None:
        """Keep a finished point, for good.

        Raises:
            TautError: the disk is full; all earlier points are whole.
        """
        self._found[one.name] = one
        if self.path is not None:
            self._append(_line(one))

    def discard(self) -> None:
        """Remove the file: the work is done."""
        if self.path is not None:
            with contextlib.suppress(OSError):
                self.path.unlink()

    def close(self) -> None:
        """Let others have the file."""
        if self._lock is not None:
            self._lock.release()

    def _write_anew(self, identity: Mapping[str, str]) -> None:
        assert self.path is not None
        head = json.dumps({"taut frontier": _VERSION, "identity": dict(identity)})
        lines = [head, *map(_line, self._found.values())]
        with AtomicFile(self.path, force=True) as file:
            file.write("".join(f"{line}\n" for line in lines).encode())
            file.commit()

    def _append(self, line: str) -> None:
        assert self.path is not None
        try:
            with self.path.open("ab") as file:
                file.write(f"{line}\n".encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise TautError(f"{self.path}: cannot be written ({error.strerror})") from error


def check_journal(path: Path, *, resume: bool, force: bool) -> None:
    """Whether a sweep may keep its points at `path`.

    Raises:
        ArgumentError: an earlier sweep's are there, or something else, or its folder is missing.
    """
    if not path.parent.is_dir():
        raise ArgumentError(f"{path}: the folder {path.parent} does not exist; make it first")
    if not os.path.lexists(path):
        return
    if path.is_symlink() or not path.is_file():
        raise ArgumentError(f"{path}: is in the place of the points, but is no plain file")
    _read(path)  # raises: it is not ours to replace
    if not (resume or force):
        raise ArgumentError(
            f"{path}: has the points of an earlier sweep; give --resume (resume=True) to go on "
            "from them, or -f (force=True) to start afresh"
        )


def _line(one: Point | Missed) -> str:
    return json.dumps({"point" if isinstance(one, Point) else "missed": plain(one)})


def _read(path: Path) -> list[dict[str, object]]:
    """The lines of a journal that are whole; none if there is no file.

    Raises:
        ArgumentError: the file is no journal of points.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ArgumentError(f"{path}: cannot be read ({error.strerror})") from None
    lines: list[dict[str, object]] = []
    for line in text.splitlines():
        try:
            tree = json.loads(line)
        except (ValueError, RecursionError):
            break
        if not isinstance(tree, dict):
            break
        lines.append(tree)
    if not lines or lines[0].get("taut frontier") != _VERSION:
        raise ArgumentError(
            f"{path}: is in the place of the points, but has none; move it away, or name another "
            "place"
        )
    return lines


def _check_same(path: Path, head: Mapping[str, object], now: Mapping[str, str]) -> None:
    before = head.get("identity")
    before = before if isinstance(before, dict) else {}
    parts = [*now, *(name for name in before if name not in now)]
    other = [name for name in parts if before.get(name) != now.get(name)]
    if other:
        raise ArgumentError(f"{path}: was begun with another {', '.join(other)}; {_ANEW}")


def _points(path: Path, lines: list[dict[str, object]]) -> dict[str, Point | Missed]:
    found: dict[str, Point | Missed] = {}
    for tree in lines:
        try:
            one = _one(tree)
        except (TypeError, ValueError, KeyError) as error:
            raise ArgumentError(f"{path}: is damaged ({error}); {_ANEW}") from None
        found[one.name] = one
    return found


def _one(tree: Mapping[str, object]) -> Point | Missed:
    if "missed" in tree:
        return Missed(**_mapping(tree["missed"]))  # type: ignore[arg-type]
    values = _mapping(tree["point"])
    unknown = values.keys() - {field.name for field in fields(Point)}
    if unknown:
        raise ValueError(f"unknown {', '.join(sorted(unknown))}")
    metrics = values["metrics"]
    if not isinstance(metrics, list) or not metrics:
        raise ValueError("no metrics")
    values["metrics"] = tuple(_metric(one) for one in metrics)
    values["notes"] = _tuple(values.get("notes"))
    return Point(**values)  # type: ignore[arg-type]


def _metric(tree: object) -> Metric:
    values = _mapping(tree)
    values["per_class"] = _tuple(values.get("per_class"))
    return Metric(**values)  # type: ignore[arg-type]


def _mapping(tree: object) -> dict[str, object]:
    if not isinstance(tree, dict):
        raise ValueError("no object")
    return dict(tree)


def _tuple(values: object) -> tuple[object, ...]:
    return tuple(values) if isinstance(values, list) else ()
