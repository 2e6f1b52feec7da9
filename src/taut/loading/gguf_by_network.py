"""GGUF models by the names and places that transformers has for their weights.

ggml has names of its own (`blk.0.attn_q.weight`), and keeps some weights in another order; what was
calibrated from a GGUF file has those of the network. To hold the two against each other the
file is read as transformers reads it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from taut.container import ModelBase, TautFile
from taut.errors import ArgumentError, FormatError
from taut.io import Source, open_source
from taut.io.gguf import GgufSource
from taut.io.gguf_metadata import METADATA
from taut.io.tensor_pieces import file_reader
from taut.loading.float_view import FloatView, float_view, side_by_side
from taut.loading.restore_gguf import is_gguf, open_frame, write_gguf
from taut.networks.gguf_folder import gguf_folder


def weights_of(model: TautFile | Source) -> set[str]:
    """Names of a model's tensors, but for that with a GGUF file's metadata, which is no weight."""
    beside = _beside(model)
    return {info.name for info in model.infos if info.name != beside}


@contextmanager
def as_network(source: Source, names: Collection[str]) -> Iterator[Source]:
    """A GGUF model as transformers names its weights, in float32; any other source as it is.

    So is a GGUF model that has one of `names` by its own. Temporary files take as much room as the
    weights in float32, until the context ends.

    Raises:
        ArgumentError: transformers does not read this architecture, or an extra is missing.
        TautError: the disk is full.
    """
    own = {tensor.name for tensor in source.tensors} if isinstance(source, GgufSource) else set()
    if not own or not own.isdisjoint(names):
        yield source
        return
    with gguf_folder(Path(source.identity)) as made:
        yield open_source(made.path)


@contextmanager
def network_within(file: TautFile) -> Iterator[Source]:
    """The network of a GGUF model that a Taut file holds, in float32; raises as `as_network`."""
    with ExitStack() as stack:
        scratch = stack.enter_context(TemporaryDirectory(prefix="taut-gguf-"))
        made = stack.enter_context(gguf_folder(_file_of(file, Path(scratch))))
        yield open_source(made.path)


@contextmanager
def compared(
    first: ModelBase, second: ModelBase
) -> Iterator[tuple[ModelBase | FloatView, ModelBase | FloatView, tuple[str, ...]]]:
    """Two models that can be compared tensor by tensor, and notes on how.

    Where one is a GGUF model and the other has none of its names, the GGUF is taken as its network;
    one that transformers does not read stays as it is, which a note says. Raises as `side_by_side`.
    """
    pair = [first, second]
    for number, (one, other) in enumerate(((first, second), (second, first))):
        if _is_gguf(one.model) and weights_of(one.model).isdisjoint(weights_of(other.model)):
            with _network_of(one, pair[1 - number]) as (views, note):
                yield (*(views if number == 0 else views[::-1]), (note,))
            return
    yield (*side_by_side(first, second), ())


@contextmanager
def _network_of(
    one: ModelBase, other: ModelBase
) -> Iterator[tuple[tuple[ModelBase | FloatView, ModelBase | FloatView], str]]:
    """The network of a GGUF model beside another model, and what to say of it."""
    with ExitStack() as stack:
        scratch = stack.enter_context(TemporaryDirectory(prefix="taut-gguf-"))
        try:
            made = stack.enter_context(gguf_folder(_file_of(one.model, Path(scratch))))
        except (ArgumentError, FormatError) as error:
            yield side_by_side(one, other), f"by its own names, not the network's: {error}"
            return
        network, beside = open_source(made.path), float_view(other.model, other.identity)
        infos = {info.name: info for info in network.infos}
        view = FloatView(
            one.identity,
            infos,
            dict.fromkeys(infos, "GGUF"),
            network.load,
            lambda name: file_reader(network, name),
        )
        kept = {name: beside.infos[name] for name in beside.infos if name != _beside(other.model)}
        beside = replace(beside, infos=kept)
        note = f"{one.identity}: {'; '.join(made.notes[:1])}"
        yield (view.beside(beside), beside.beside(view)), note


def _is_gguf(model: TautFile | Source) -> bool:
    return is_gguf(model) if isinstance(model, TautFile) else isinstance(model, GgufSource)


def _file_of(model: TautFile | Source, scratch: Path) -> Path:
    """The GGUF file of a model: it itself, or what a Taut file decodes to."""
    if not isinstance(model, TautFile):
        return Path(model.identity)
    target = scratch / "model.gguf" if len(open_frame(model)) == 1 else scratch / "model"
    return next(iter(write_gguf(model, target)))


def _beside(model: TautFile | Source) -> str | None:
    """The tensor with the metadata of a GGUF file, of what was calibrated from one."""
    return model.index.origin.metadata.get(METADATA) if isinstance(model, TautFile) else None
