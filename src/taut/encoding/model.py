"""Runs a plan over a model: every tensor is loaded, coded by its scheme and added to a layout."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Final

from taut.coding import Effort
from taut.container import Layout, Origin
from taut.encoding.add_on_base import added_on_base
from taut.encoding.alike import rounded_alike
from taut.encoding.in_pieces import PieceOptions
from taut.encoding.on_base import as_it_is
from taut.encoding.rounded_pieces import added_in_pieces
from taut.encoding.tensor import Quantize, add_tensor, encode_tensor
from taut.errors import ArgumentError
from taut.io import Source, TensorInfo
from taut.io.equal_tensors import EqualTensors
from taut.io.pairs import own
from taut.progress import Progress
from taut.scheme import Scheme, parse_scheme

Plan = Mapping[str, Scheme | str]
SEARCH: Final = "search"  # the stage in which a size is looked for that serves


def resolve_plan(source: Source, plan: Plan | None) -> dict[str, Scheme]:
    """The scheme of every tensor that is stored; those that `plan` does not name are lossless.

    Raises:
        ArgumentError: `plan` names a tensor that the model has not, or is tied to another, or
            says what is no scheme.
    """
    schemes = {info.name: Scheme() for info in source.infos if info.name not in source.aliases}
    if plan is not None and not isinstance(plan, Mapping):
        raise ArgumentError(f"plan: a {type(plan).__name__}; give a dict of tensor to scheme")
    for name, scheme in (plan or {}).items():
        if name not in schemes:
            raise _not_stored(source, name)
        schemes[name] = _scheme(name, scheme)
    return schemes


def _not_stored(source: Source, name: str) -> ArgumentError:
    """Why a plan cannot give this tensor a scheme."""
    if name in source.aliases:
        return ArgumentError(
            f'plan: "{name}" is tied to "{source.aliases[name]}"; give the scheme there'
        )
    names = [info.name for info in source.infos]
    near = ", ".join(get_close_matches(name, names[:10_000]))
    return ArgumentError(f'plan: "{name}" matches no tensor{f"; nearest: {near}" if near else ""}')


def _scheme(name: str, scheme: object) -> Scheme:
    if isinstance(scheme, str):
        return parse_scheme(scheme)
    if not isinstance(scheme, Scheme):
        raise ArgumentError(f'plan: "{name}": {scheme!r} is no scheme; give a text as "lossless"')
    return scheme


def fill(
    layout: Layout,
    source: Source,
    schemes: Mapping[str, Scheme],
    *,
    effort: Effort,
    threads: int,
    quantize: Quantize | None = None,
    progress: Progress | None = None,
    stage: str = "encode",
    once: bool = True,
) -> None:
    """Add all tensors of a model to `layout`, in order, equal ones `once`.

    Over a layout that emits to nowhere this predicts the file's size to the byte. Holds one
    tensor and its coded form (and its decoding, if it is lossy). `progress` is told of the `stage`.
    """
    known = EqualTensors(source)
    options = PieceOptions(effort, threads, quantize, known if once else None)
    tied: list[TensorInfo] = []
    for number, info in enumerate(source.infos):
        if info.name in source.aliases:
            tied.append(info)
        elif not _added(layout, source, info, schemes[info.name], options):
            values, scheme = as_it_is(source, info).load(info.name), schemes[info.name]
            twin = known.first(own(info), values, str(scheme)) if once else None
            if twin is not None and rounded_alike(quantize, info.name, twin):
                layout.add_alias(own(info), twin)
            else:
                coded = encode_tensor(
                    info, values, scheme, effort=effort, threads=threads, quantize=quantize
                )
                add_tensor(layout, info, coded)
            del values  # before the next one is loaded: one is held at a time
        if progress:
            progress(stage, number + 1, len(source.infos))
    for info in tied:  # what they are tied to may have come later
        layout.add_alias(own(info), source.aliases[info.name], tied=True)


def _added(
    layout: Layout, source: Source, info: TensorInfo, scheme: Scheme, options: PieceOptions
) -> bool:
    """Add a tensor as what it differs by from a base's, or piece by piece, where that is done."""
    if added_on_base(layout, source, info, scheme, options):
        return True
    whole = as_it_is(source, info)
    if whole is not source:  # what a quantiser knows is of what it differs by
        options = replace(options, quantize=None)
    return added_in_pieces(layout, whole, info, scheme, options)


@dataclass(frozen=True)
class FilesToBe:
    """The files that a model becomes where it is not one: what goes into each, and their index.

    `index_bytes` gives those of the index, of the finished layouts in order.
    """

    parts: tuple[tuple[Source, Origin], ...]
    index_bytes: Callable[[Sequence[Layout]], int]


def predict_size(
    source: Source,
    schemes: Mapping[str, Scheme],
    *,
    effort: Effort,
    threads: int,
    quantize: Quantize | None = None,
    origin: Origin,
    once: bool = True,
    files: FilesToBe | None = None,
    progress: Progress | None = None,
) -> int:
    """The bytes that the file would have, to the byte: everything is coded, nothing is written.

    Not `once` counts equal tensors as often as they are there: as if they were about to differ.
    With `files` it is the bytes of all of them, and of their index. `progress` is told of a search.
    """
    layouts = []
    for part, its in ((source, origin),) if files is None else files.parts:
        layout = Layout(its, part.infos, effort=effort, threads=threads)
        fill(
            layout,
            part,
            schemes,
            effort=effort,
            threads=threads,
            quantize=quantize,
            progress=progress,
            stage=SEARCH,
            once=once,
        )
        layout.close()
        layouts.append(layout)
    total = sum(layout.size for layout in layouts)
    return total if files is None else total + files.index_bytes(layouts)
