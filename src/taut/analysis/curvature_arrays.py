"""Curvature as arrays with names, as a journal keeps it, and back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import count

import numpy as np

from taut.analysis.metric import Curvature
from taut.analysis.submatrices import Submatrix


def curvature_arrays(one: Curvature) -> dict[str, np.ndarray]:
    """A curvature as arrays, its texts among them."""
    numbers = np.array([one.positions, one.samples, one.stage, one.swapped], np.int64)
    texts = text_array([one.kind, one.bias, *one.notes])
    arrays = {"numbers": numbers, "texts": texts, "rows": one.rows, "columns": one.columns}
    for number, part in enumerate(one.parts):
        arrays |= {f"part{number}/{what}": value for what, value in _part_arrays(part).items()}
    return arrays if one.mean_input is None else {**arrays, "mean_input": one.mean_input}


def _part_arrays(part: Submatrix) -> dict[str, np.ndarray]:
    positions = np.array(part.positions, np.int64)
    known = {"rows": part.rows, "columns": part.columns}
    return {"numbers": part.numbers, "positions": positions, **known}


def _parts(arrays: Mapping[str, np.ndarray]) -> Iterator[Submatrix]:
    for number in count():
        name = f"part{number}/"
        if f"{name}numbers" not in arrays:
            return
        numbers, rows, columns = (arrays[name + what] for what in ("numbers", "rows", "columns"))
        yield Submatrix(numbers, rows, columns, int(arrays[f"{name}positions"]))


def curvature_from(arrays: Mapping[str, np.ndarray]) -> Curvature:
    """The curvature of `curvature_arrays`."""
    positions, samples, stage, *swapped = arrays["numbers"].tolist()
    kind, bias, *notes = texts_of(arrays["texts"])
    return Curvature(
        rows=arrays["rows"],
        columns=arrays["columns"],
        mean_input=arrays.get("mean_input"),
        bias=bias,
        positions=positions,
        samples=samples,
        kind=kind or "",
        stage=stage,
        notes=tuple(note or "" for note in notes),
        swapped=any(swapped),
        parts=tuple(_parts(arrays)),
    )


def of_number(number: int, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays whose names begin with a number and a slash, by what comes after it."""
    prefix = f"{number}/"
    return {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}


def text_array(texts: Sequence[str | None]) -> np.ndarray:
    """Texts as one array of bytes."""
    return np.frombuffer(json.dumps(texts).encode(), np.uint8)


def texts_of(text: np.ndarray) -> list[str | None]:
    """The texts of `text_array`."""
    texts: list[str | None] = json.loads(text.tobytes())
    return texts
