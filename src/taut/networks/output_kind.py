"""What a network gives: logits, whose softmax counts, or features, which count themselves."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, TypeVar, cast

from taut.errors import ArgumentError
from taut.networks.calls import evaluating, run, samples_of
from taut.networks.cuts import first_sample, tensors
from taut.networks.measured_output import ENOUGH, LEAST, told_by_values
from taut.networks.other_outputs import kept_outputs
from taut.networks.output_vectors import Kind, vectors_of
from taut.networks.outputs import FEATURES, KeptOutput, find_target, float_parts, told_output

if TYPE_CHECKING:
    import torch

    Maker: TypeAlias = Callable[[torch.Tensor], str | None]

Seen = TypeVar("Seen")

_BATCHES: Final = 8
_MOST: Final = 1024  # positions of an output and batch that are looked at


@dataclass(frozen=True)
class OutputRole:
    """What an output of a network holds, why it is taken for that, and what it counts."""

    kind: Kind
    why: str
    share: float = 1.0


def output_kind(module: torch.nn.Module, batch: object, batches: Iterable[object] = ()) -> Kind:
    """What the main output is, told by running one batch, as `output_roles` does.

    A batch may be too small to tell by: with `batches`, of which it is the first, more are run.
    "last" is of images whose logits a linear layer gives: their classes are on the last axis.

    >>> import torch
    >>> net = torch.nn.Linear(4, 3)
    >>> output_kind(torch.nn.Sequential(net, torch.nn.Softmax(-1)), torch.randn(64, 4))
    'probabilities'
    """
    main = look_at(module, batch, lambda o, m: kept_outputs(o, "auto", m)[0])
    if (says := graph_kind(module)) is not None:  # decides of few samples, as a layer's name does
        main = replace(main, logits=says == "logits")
    (values,) = values_at(module, [main], batches or [batch])
    return role_of(main, values, vocabularies_of(module, batch)).kind


def role_of(
    kept: KeptOutput,
    values: torch.Tensor,
    vocabularies: frozenset[int] = frozenset(),
    said: str = "auto",
) -> OutputRole:
    """What an output holds, by some of its vectors (positions, width); `said` goes before.

    What the output itself calls logits or an embedding is that. Of fewer than 16 positions the name
    of the layer that made it decides.
    """
    usual: Kind = "last" if kept.last and kept.tensor.ndim > 3 else "logits"
    if said != "auto":
        return OutputRole(usual if said == "logits" else cast("Kind", said), "as was said")
    name = kept.place.rpartition(".")[2]
    if name == "logits":
        return OutputRole(usual, "the output is called so")
    if name in FEATURES:
        return OutputRole("features", "the output is called so")
    if type(kept.tensor.grad_fn).__name__.startswith("NativeLayerNorm"):
        return OutputRole("features", "a layer norm gives it")
    if len(values) < LEAST:
        why = "there are too few samples to tell by its values; by the name of its layer"
        return OutputRole(usual if kept.logits else "features", why)
    told = told_by_values(values, vocabularies)
    return OutputRole(usual if told.meaning == "logits" else told.meaning, told.why)


def vocabularies_of(module: torch.nn.Module, batch: object) -> frozenset[int]:
    """The numbers of rows of all embeddings that read a part of the batch as it is: of tokens.

    Positions, which a network counts by itself, are no vocabulary. Of TorchScript, which nothing
    can be hooked to, all embeddings count; and where all are of one size, nothing is run.
    """
    import torch

    tables = [one for one in module.modules() if _rows(one) >= LEAST]
    sizes = {_rows(one) for one in tables}
    scripted = {_rows(one) for one in tables if not _is_embedding(one)}
    if len(sizes) < 2 or sizes == scripted:
        return frozenset(sizes)
    read = set[int]()
    some = first_sample(batch)
    given = [one for one in tensors(some) if not one.is_floating_point()]

    def look(layer: torch.nn.Module, inputs: tuple[object, ...]) -> None:
        if inputs and any(_same_numbers(inputs[0], one) for one in given):
            read.add(_rows(layer))

    with ExitStack() as hooks:
        for one in filter(_is_embedding, tables):
            hooks.enter_context(one.register_forward_pre_hook(look))
        with torch.no_grad(), suppress(ArgumentError), evaluating(module):
            run(module, some, "calibration batch")
    return frozenset((read or sizes) | scripted)


def _same_numbers(one: object, other: torch.Tensor) -> bool:
    import torch

    if not isinstance(one, torch.Tensor) or one.numel() != other.numel():
        return False
    return bool((one.reshape(-1).cpu() == other.reshape(-1).cpu()).all())


def _is_embedding(module: torch.nn.Module) -> bool:
    import torch

    return isinstance(module, torch.nn.Embedding)


def _rows(module: torch.nn.Module) -> int:
    import torch

    if isinstance(module, torch.nn.Embedding):
        return module.num_embeddings
    # TorchScript, and its twins, have the name alone.
    own = module._get_name()  # type: ignore[no-untyped-call]
    name = getattr(module, "original_name", own)
    weight = getattr(module, "weight", None)
    return int(weight.shape[0]) if name == "Embedding" and weight is not None else 0


def values_at(
    module: torch.nn.Module, kept: Sequence[KeptOutput], batches: Iterable[object]
) -> list[torch.Tensor]:
    """Some vectors of each output, of several batches where one does not have ENOUGH."""
    import torch

    found: list[list[torch.Tensor]] = [[] for _ in kept]
    for batch in itertools.islice(batches, _BATCHES):
        for count in (1, ENOUGH) if samples_of(batch) > 1 else (1,):
            if count > 1 and all(map(_enough, found)):
                break
            some = _some(batch, count)
            with torch.random.fork_rng(devices=[]), torch.no_grad(), suppress(ArgumentError):
                for number, one in enumerate(vectors_at(module, kept, some)):
                    found[number].append(one)
        if all(map(_enough, found)):
            break
    empty = torch.zeros(0, 1)
    return [torch.cat(one) if _alike(one) else next(iter(one), empty) for one in found]


def _some(batch: object, count: int) -> object:
    return first_sample(batch, count) if count == 1 else first_sample(batch, count, begin=1)


def vectors_at(
    module: torch.nn.Module, kept: Sequence[KeptOutput], batch: object
) -> list[torch.Tensor]:
    """Vectors (positions, width) of outputs for a batch, of each no more than can tell."""
    import torch

    with evaluating(module):
        output = run(module, batch, "calibration batch")
    parts: dict[str, torch.Tensor] = float_parts(output)
    if not parts:  # a single number
        parts = {"": find_target(output, "auto", lambda _: None).tensor}
    tensors = [parts.get(one.place) for one in kept]
    return [
        torch.zeros(0, 1) if tensor is None else values_of(tensor, batch, last=one.last)
        for one, tensor in zip(kept, tensors, strict=True)
    ]


def values_of(tensor: torch.Tensor, batch: object, *, last: bool) -> torch.Tensor:
    """Vectors of one output, evenly spread over its positions, _MOST at most."""
    found = vectors_of(tensor.detach(), batch, "last" if last else "logits")
    return found[:: max(1, len(found) // _MOST)].clone()


def _enough(found: Sequence[torch.Tensor]) -> bool:
    return sum(map(len, found)) >= ENOUGH


def _alike(found: Sequence[torch.Tensor]) -> bool:
    return bool(found) and len({one.shape[1] for one in found}) == 1


def class_axes(
    module: torch.nn.Module, batch: object, where: str, named: Mapping[str, object] | None = None
) -> dict[str, int]:
    """The axis of classes of every part of the output that holds logits, by its place.

    Places are those of `float_parts`. One batch is run, with keywords `named` beside it; `where`
    names it, should the model reject it.

    >>> import torch
    >>> net = torch.nn.Sequential()
    >>> net.add_module("fc", torch.nn.Linear(4, 3))
    >>> class_axes(net, torch.ones(2, 4), "batch 1"), class_axes(net.fc, torch.ones(2, 4), "")
    ({'': -1}, {})
    """
    output, maker = _made_by(module, batch, where, named)
    told, found = graph_kind(module), {}
    for place, tensor in float_parts(output).items():
        said = place.rpartition(".")[2] == "logits" or told == "logits"
        target = told_output(tensor, maker, named=said)
        if target.logits and told != "features":
            found[place] = target.axis
    return found


def look_at(
    module: torch.nn.Module,
    batch: object,
    look: Callable[[object, Maker], Seen],
    *,
    gradients: bool = False,
) -> Seen:
    """What `look` sees in the output of the first sample, or of the batch where that is not taken.

    So it is where a part of the first sample's output is empty, as boxes that were found are. The
    logits of all of a language model's batch, with all that led to them, take gigabytes.
    """
    with suppress(ArgumentError):
        some = first_sample(batch)
        output, maker = _made_by(module, some, "calibration batch 1", gradients=gradients)
        if all(one.numel() for one in float_parts(output).values()):
            return look(output, maker)
    return look(*_made_by(module, batch, "calibration batch 1", gradients=gradients))


def graph_kind(module: torch.nn.Module) -> Literal["logits", "features"] | None:
    """What a network says itself that has no layers to look at."""
    told = getattr(module, "output_kind", None)
    if told in ("logits", "features"):
        return "logits" if told == "logits" else "features"
    return None


def _made_by(
    module: torch.nn.Module,
    batch: object,
    where: str,
    named: Mapping[str, object] | None = None,
    *,
    gradients: bool = False,
) -> tuple[object, Maker]:
    """The output of a batch, and which linear layer made a tensor of it."""
    import torch

    made: list[tuple[object, str]] = []  # the tensors are kept, so that no other takes their id
    linear = [(n, m) for n, m in module.named_modules() if isinstance(m, torch.nn.Linear)]
    handles = [
        layer.register_forward_hook(lambda _, __, out, name=name: made.append((out, name)))
        for name, layer in linear
    ]
    try:
        with torch.set_grad_enabled(gradients):
            output = run(module, batch, where, named)
    finally:
        for handle in handles:
            handle.remove()
    names = {id(out): name for out, name in made}

    def maker(tensor: torch.Tensor) -> str | None:
        return names.get(id(tensor)) if made else None

    return output, maker
