"""The page of `taut view`: examples/viewer with what a file says of itself, and how its values lie.

The page reads headers by itself, as it does of a file that is dropped on it. Put into it are these
very bytes, and a histogram of each tensor, which Python has decoded and checked.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from taut.container import BaseSpec, TautFile, find_file, open_taut
from taut.errors import ArgumentError, FormatError, TautError
from taut.io import read_header
from taut.io.dtypes import storage
from taut.reporting.gguf_extent import gguf_extent

_PAGE: Final = (
    Path(__file__).with_name("viewer_page"),  # in a wheel
    Path(__file__).resolve().parents[3] / "examples" / "viewer",  # in a source tree
)
_BINS: Final = 64
_LOOKED_AT: Final = 1 << 22  # bytes of a tensor, from its beginning
_SCRIPT: Final = re.compile(r'<script src="([a-z]+\.js)"></script>')
_STYLE: Final = '<link rel="stylesheet" href="style.css">'

Json = dict[str, object]


def view_page(path: Path, *, base: BaseSpec | None = None) -> str:
    """The page on a Taut file, the index or folder of several, a safetensors or a GGUF file.

    `base` is what a delta stands on; by default, what lies beside it under the name it had.

    Raises:
        ArgumentError: there is no such file, or it is of another kind; or it is a delta, and its
            base is not there; or a base is given, and the file needs none.
        FormatError, VerifyError: it is damaged.
    """
    files = json.dumps([_told(one, base) for one in _files(path, base)]).replace("<", "\\u003c")
    folder = next((one for one in _PAGE if (one / "index.html").is_file()), None)
    if folder is None:
        raise TautError("the page of `taut view` is missing from this installation; install again")
    text = (folder / "index.html").read_text(encoding="utf-8")
    style = (folder / "style.css").read_text(encoding="utf-8")
    text = text.replace(_STYLE, f"<style>\n{style}</style>")
    given = f'<script type="application/json" id="given">{files}</script>\n'
    begin = _SCRIPT.search(text)
    assert begin is not None  # what the page is made of, tested
    text = text[: begin.start()] + given + text[begin.start() :]
    return _SCRIPT.sub(lambda found: _inlined(folder / found[1]), text)


def _inlined(script: Path) -> str:
    return f"<script>\n{script.read_text(encoding='utf-8')}</script>"


def _files(path: Path, base: BaseSpec | None) -> list[Path | TautFile]:
    """The files that are meant: one, or the shards of a model."""
    if path.is_dir() and not any(path.glob("*.taut.safetensors*")):
        found = sorted(path.glob("*.safetensors"))
        if not found:
            raise ArgumentError(f"{path}: no .safetensors file is in this folder")
        return [*found]
    found_file = find_file(path)
    if found_file.name.endswith(".taut.safetensors.index.json"):
        return [*open_taut(found_file, base=base).parts]
    return [found_file]


def _told(one: Path | TautFile, base: BaseSpec | None) -> Json:
    """A file as the page takes it: its name and size, its header's bytes, its histograms."""
    path = one.path if isinstance(one, TautFile) else one
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
    if start[:4] == b"GGUF":
        return _file(path, size, [(0, gguf_extent(path))], {})
    if len(start) < 8:
        raise FormatError(f"{path}: too short for a safetensors, Taut or GGUF file")
    header = read_header(path)
    end = 8 + int.from_bytes(start, "little")
    pieces = [(0, end)]
    if "taut" in header.metadata:
        taut_file = one if isinstance(one, TautFile) else open_taut(path, base=base)
        last = header.tensors[-1]
        pieces.append((last.start, last.stop))
        values = ((info.name, _first(taut_file, info.name)) for info in taut_file.infos)
        return _file(path, size, pieces, _histograms(values))
    if base is not None:
        raise ArgumentError(f"{path}: is no delta, and stands on no base; leave it out (--base)")
    plain = ((one.name, _plain(path, one.dtype, one.start, one.stop)) for one in header.tensors)
    return _file(path, size, pieces, _histograms(plain))


def _file(path: Path, size: int, pieces: list[tuple[int, int]], histograms: Json) -> Json:
    with path.open("rb") as file:
        held = []
        for begin, end in pieces:
            file.seek(begin)
            held.append([begin, base64.b64encode(file.read(end - begin)).decode()])
    return {"name": path.name, "size": size, "pieces": held, "histograms": histograms}


def _first(file: TautFile, name: str) -> np.ndarray:
    """The first values of a tensor."""
    return next(file.pieces(name, _LOOKED_AT))


def _plain(path: Path, dtype: str, start: int, stop: int) -> np.ndarray:
    kind, _ = storage(dtype, (1,))
    count = min(stop - start, _LOOKED_AT) // kind.itemsize
    with path.open("rb") as file:
        file.seek(start)
        return np.frombuffer(file.read(count * kind.itemsize), kind)


def _histograms(tensors: Iterator[tuple[str, np.ndarray]]) -> Json:
    found: Json = {}
    for name, values in tensors:
        if values.size and values.dtype.kind != "c":
            found[name] = histogram(values)
    return found


def histogram(values: np.ndarray) -> Json:
    """Counts in 64 bins from the least to the greatest finite value, as the page draws them.

    >>> found = histogram(np.array([0, 0, 1, np.inf], np.float32))
    >>> found["low"], found["high"], found["zeros"], found["odd"], sum(found["counts"])
    (0.0, 1.0, 2, 1, 3)
    """
    wide = values.astype(np.float64)
    finite = wide[np.isfinite(wide)]
    if finite.size == 0:
        nothing = [0] * _BINS
        return _bins(None, None, nothing, 0, wide.size, wide.size)
    low, high = float(finite.min()), float(finite.max())
    width = (high - low) / _BINS
    if 0 < width < np.inf:
        numbers = np.minimum(((finite - low) / width).astype(np.int64), _BINS - 1)
    else:
        numbers = np.zeros(finite.size, np.int64)
    counts = np.bincount(numbers, minlength=_BINS).tolist()
    zeros = int((finite == 0).sum())
    return _bins(low, high, counts, zeros, wide.size - finite.size, wide.size)


def _bins(
    low: float | None, high: float | None, counts: list[int], zeros: int, odd: int, of: int
) -> Json:
    return {"low": low, "high": high, "counts": counts, "zeros": zeros, "odd": odd, "of": of}
