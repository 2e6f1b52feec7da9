"""How near two models are on the same inputs, without labels, and which layer lost it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sized
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from taut.errors import ArgumentError
from taut.evaluation._follow import Follow
from taut.evaluation._near import NearOutput, unwrapped
from taut.evaluation._still import still
from taut.networks.calls import run, samples_of
from taut.networks.output_kind import output_kind
from taut.networks.output_roles import output_roles
from taut.networks.output_vectors import Kind
from taut.networks.outputs import find_target, float_parts
from taut.scoring.results import Fidelity, OutputFidelity

if TYPE_CHECKING:
    import torch


def measure_fidelity(
    module: torch.nn.Module,
    original: torch.nn.Module,
    batches: Iterable[object],
    *,
    logits: bool | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Fidelity:
    """`compare_models` without its second part, the layers that were left out."""
    return compare_models(module, original, batches, logits=logits, progress=progress)[0]


def compare_models(
    module: torch.nn.Module,
    original: torch.nn.Module,
    batches: Iterable[object],
    *,
    logits: bool | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[Fidelity, dict[str, str]]:
    """Run both models on `batches`; what came of `module`, and why layers were left out, by name.

    A batch is a dict of keywords, a tuple of arguments or the one argument. A row is a sample; of
    outputs (samples, tokens, n) a token, padding left out where the batch has an `attention_mask`.
    `kl` is told where the output is `logits` (None: where the original's first outputs are logits
    or probabilities by their values, or are called logits). Other outputs that the original
    computes are told apart, each by what it holds. Layers are matched by
    name; one that the new model calls another number of times, or on other shapes (experts), has
    its own error alone, and NaN for the others. `progress` gets ("fidelity", done, total or 0).

    Raises:
        ArgumentError: no batch, a model rejects one, or outputs differ in shape.

    >>> import torch
    >>> old, new = torch.nn.Linear(2, 2, bias=False), torch.nn.Linear(2, 2, bias=False)
    >>> _ = new.load_state_dict({"weight": 0.9 * old.weight})
    >>> found = measure_fidelity(new, old, [torch.randn(8, 2)])
    >>> round(found.rel_mse, 6), round(found.cosine, 6), found.kl
    (0.01, 1.0, None)
    """
    follow = Follow(original, module)
    total = len(batches) if isinstance(batches, Sized) else 0
    kind = {None: "auto", True: "logits", False: "features"}[logits]
    outputs: _Outputs | None = None
    samples = 0
    with still(module, original):
        for number, batch in enumerate(batches, 1):
            places = None if outputs is None else outputs.others
            old, new = _given(module, original, batch, follow, kind, number, places)
            if outputs is None:
                outputs = _outputs(original, batch, old, logits, _again(batches, batch))
            outputs.add(old, new, batch)
            samples += samples_of(unwrapped(batch))
            if progress:
                progress("fidelity", number, total)
    if outputs is None or not samples:
        raise ArgumentError("fidelity: there is no batch to run the models on")
    main = outputs.main
    found = Fidelity(
        samples,
        main.near.cosine,
        main.near.rel_mse,
        main.near.largest,
        main.kl,
        follow.layers(),
        name=outputs.name if outputs.others else "",
        others=outputs.told(),
    )
    return found, {**follow.left_out, **outputs.left_out}


@dataclass(frozen=True)
class _Given:
    """What a model gave for a batch: its main output, and every output of floats by its place."""

    main: torch.Tensor
    parts: Mapping[str, torch.Tensor]

    def kept(self, places: Collection[str] | None) -> _Given:
        """The same at some places, in memory that no later call of a model overwrites."""
        parts = {at: one for at, one in self.parts.items() if places is None or at in places}
        copies = {id(one): one.clone() for one in (self.main, *parts.values())}
        return _Given(copies[id(self.main)], {at: copies[id(one)] for at, one in parts.items()})


@dataclass
class _Outputs:
    """How near the outputs are so far; `left_out` says of which that cannot be told, and why."""

    name: str  # the main one's place
    main: NearOutput
    others: dict[str, NearOutput]
    left_out: dict[str, str] = field(default_factory=dict)

    def add(self, old: _Given, new: _Given, batch: object) -> None:
        """Add what both models gave for a batch."""
        self.main.add(old.main, new.main, batch)
        for place, one in self.others.items():
            a, b = (given.parts.get(place) for given in (old, new))
            if a is None or b is None or a.shape != b.shape:
                shapes = [None if z is None else list(z.shape) for z in (a, b)]
                self.left_out[f"output {place}"] = f"{shapes[0]} became {shapes[1]}"
            else:
                one.add(a, b, batch)

    def told(self) -> tuple[OutputFidelity, ...]:
        """Those beside the main one whose shapes always agreed."""
        return tuple(
            OutputFidelity(place, one.near.cosine, one.near.rel_mse, one.near.largest, one.kl)
            for place, one in self.others.items()
            if f"output {place}" not in self.left_out
        )


def _again(batches: Iterable[object], batch: object) -> Iterable[object]:
    """The batches, if they can be gone through once more; else the one at hand."""
    return batches if isinstance(batches, Sized) and not hasattr(batches, "__next__") else [batch]


def _outputs(
    original: torch.nn.Module,
    batch: object,
    given: _Given,
    logits: bool | None,
    batches: Iterable[object],
) -> _Outputs:
    """What is to be compared: the main output, and all others that the original computes."""
    kinds: dict[str, Kind] = {}
    if len(given.parts) > 1:
        with suppress(ArgumentError):  # no gradient flows to any: the main one is all that is told
            kinds = {n: one.kind for n, one in output_roles(original, batches).items()}
    same = [place for place, one in given.parts.items() if one is given.main]
    own = next(iter(same or kinds), "")  # complex numbers, whose pairs are the main one, come first
    known = kinds.pop(own, None)
    if logits is not None:
        known = "logits" if logits else "features"
    main = NearOutput(known or output_kind(original, batch, batches))
    return _Outputs(own, main, {name: NearOutput(kind) for name, kind in kinds.items()})


def _given(
    module: torch.nn.Module,
    original: torch.nn.Module,
    batch: object,
    follow: Follow,
    kind: str,
    number: int,
    places: Collection[str] | None,
) -> tuple[_Given, _Given]:
    """What the original gives for a batch and what the new one does, by the same random numbers.

    Beside the main output what is at `places`: everything, where these are not known yet.
    """
    import torch

    torch.manual_seed(0)
    with follow.original(batch):
        old = _taken(run(original, batch, f"fidelity, batch {number}, the original"), kind)
        old = old.kept(places)
    torch.manual_seed(0)
    with follow.new():
        new = _taken(run(module, batch, f"fidelity, batch {number}"), kind)
    if new.main.shape != old.main.shape:
        raise ArgumentError(
            f"fidelity, batch {number}: the original's output is {list(old.main.shape)}, the new "
            f"model's {list(new.main.shape)}; they must do the same task"
        )
    return old, new


def _taken(output: object, kind: str) -> _Given:
    return _Given(find_target(output, kind, lambda _: None).tensor, float_parts(output))
