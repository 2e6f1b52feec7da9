"""What all outputs of a network that count hold, and whether what is rounded leads to them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from taut.errors import ArgumentError
from taut.io.names import nearest
from taut.networks.calls import run
from taut.networks.chosen_outputs import OutputShares, only
from taut.networks.other_outputs import computed, kept_outputs
from taut.networks.output_kind import (
    OutputRole,
    graph_kind,
    look_at,
    role_of,
    values_at,
    vocabularies_of,
)
from taut.networks.output_vectors import Kind
from taut.networks.outputs import KeptOutput, find_target, float_parts
from taut.networks.straight import straight

if TYPE_CHECKING:
    import torch

    from taut.networks.output_kind import Maker

ALL_ALIKE = OutputShares()


def output_roles(
    module: torch.nn.Module,
    batches: Iterable[object],
    said: Mapping[str, str] | None = None,
    shares: OutputShares = ALL_ALIKE,
    matrices: Collection[str] = (),
) -> dict[str, OutputRole]:
    """What the outputs hold, by their places; the main one of those that count comes first.

    Told by the values of some 64 positions, of as many batches as that takes. `said` has what the
    caller says of outputs, one of OUTPUTS, by their places: "" is the main one. `shares` say what
    each counts; those that count 0 come last. `matrices` are parameters: one at least has to lead
    to what counts.

    Raises:
        ArgumentError: the module rejects a batch, `said` or `shares` name an output that there is
            not, or no matrix leads to any output that counts.

    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> class Two(torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.fc, self.box = torch.nn.Linear(4, 3), torch.nn.Linear(4, 2)
    ...     def forward(self, x):
    ...         return self.fc(x).softmax(-1), self.box(x)
    >>> {place: one.kind for place, one in output_roles(Two(), [torch.randn(64, 4)]).items()}
    {'0': 'probabilities', '1': 'features'}
    """
    return roles_and_idle(module, batches, said, shares, matrices)[0]


def roles_and_idle(
    module: torch.nn.Module,
    batches: Iterable[object],
    said: Mapping[str, str] | None = None,
    shares: OutputShares = ALL_ALIKE,
    matrices: Collection[str] = (),
) -> tuple[dict[str, OutputRole], list[str]]:
    """`output_roles`, and the places of what no parameter leads to, as anchors, by the same run.

    >>> import torch
    >>> class Two(torch.nn.Linear):
    ...     def forward(self, x):
    ...         return {"x": x, "y": super().forward(x)}
    >>> roles_and_idle(Two(4, 3), [torch.ones(2, 4)])[1]
    ['x']
    """
    steps = iter(batches)
    first = next(steps)
    counted, idle = _counted(module, first, shares, matrices)
    kept = [one for one, _ in counted]
    words = _asked({} if said is None else said, [one.place for one in kept])
    values = values_at(module, kept, itertools.chain([first], steps))
    tokens = vocabularies_of(module, first)
    roles = {
        one.place: replace(role_of(one, some, tokens, word), share=share)
        for (one, share), some, word in zip(counted, values, words, strict=True)
    }
    return roles, idle


def other_kinds(module: torch.nn.Module, batch: object) -> dict[str, Kind]:
    """What the outputs beside the main one hold, by their places: those that curvature counts."""
    _, *others = output_roles(module, [batch]).items()
    return {place: one.kind for place, one in others}


def _asked(said: Mapping[str, str], places: list[str]) -> list[str]:
    """What is said of each output; "" is the main one, which comes first."""
    for place in said:
        if place and place not in places:
            raise ArgumentError(
                f'output: the network has no output "{place}"{nearest(place, places)}; it has '
                + ", ".join(sorted(one or "a single one" for one in places))
            )
    main, *others = places
    return [said.get(main, said.get("", "auto")), *(said.get(one, "auto") for one in others)]


def _counted(
    module: torch.nn.Module, batch: object, shares: OutputShares, matrices: Collection[str]
) -> tuple[list[tuple[KeptOutput, float]], list[str]]:
    """The outputs with what each counts, and the places of those that nothing leads to."""
    if (kind := graph_kind(module)) is not None:
        output = run(module, batch, "calibration batch 1")
        found = _of_graph(output, kind, shares)
        if (leads := getattr(module, "leads", None)) is not None and matrices:
            alone = [[one] for one in sorted(shares.asked_for(_numbers_of(output, kind)))]
            counting = [one.place for one, share in found if share]
            _check_led(lambda places: bool(leads(matrices, places)), [counting, *alone])
        return found, []
    with _differentiable(module):
        named = dict(module.named_parameters(remove_duplicate=False))
        wanted = [named[name] for name in matrices if name in named]

        def look(output: object, maker: Maker) -> tuple[list[tuple[KeptOutput, float]], list[str]]:
            found = _of_output(output, maker, shares)
            _check_named(output, found, shares, wanted)
            counting = [one for one, share in found if share]
            if wanted and not any(_leads(one.tensor, wanted) for one in counting):
                told = ", ".join(one.place for one in counting if one.place)
                raise ArgumentError(
                    f"calibration: the model's output {told + ' ' if told else ''}has no gradient: "
                    "no matrix that is rounded leads to it; its forward must return what they "
                    "compute, and must not run under torch.no_grad() or detach what it gives"
                )
            parts = float_parts(output)
            idle = [place for place, one in parts.items() if not one.requires_grad]
            return found, idle if len(parts) > 1 else []

        return look_at(module, batch, look, gradients=True)


def _check_led(leads: Callable[[list[str]], bool], groups: Iterable[list[str]]) -> None:
    """Refuse outputs of an ONNX graph, some together, that no matrix leads to."""
    for places in groups:
        if not leads(places):
            raise ArgumentError(
                f"calibration: the model's output {', '.join(places)}: no matrix that is rounded "
                "leads to it; choose another (outputs, --outputs)"
            )


def _check_named(
    output: object,
    found: Iterable[tuple[KeptOutput, float]],
    shares: OutputShares,
    wanted: list[torch.nn.Parameter],
) -> None:
    """Refuse outputs that are named to count, and are led to by nothing."""
    named = shares.asked_for(float_parts(output))
    led = {
        one.place
        for one, _ in found
        if one.tensor.requires_grad and (not wanted or _leads(one.tensor, wanted))
    }
    if idle := sorted(named - led):
        raise ArgumentError(
            f"outputs (--outputs): {', '.join(idle)}: no matrix that is rounded leads to it; leave "
            "it out, or return what they compute, not detached and not under torch.no_grad()"
        )


def _of_output(
    output: object, maker: Maker, shares: OutputShares
) -> list[tuple[KeptOutput, float]]:
    """The parts of an output through which gradients flow, with what each counts."""
    if shares.all_alike:
        return [(one, 1.0) for one in computed(kept_outputs(output, "auto", maker))]
    parts = float_parts(output)
    counts = shares.of(parts)
    chosen, beside = _flowing(parts, counts, count=True), _flowing(parts, counts, count=False)
    chosen = chosen or [place for place, share in counts.items() if share]
    kept = kept_outputs(only(output, chosen), "auto", maker)
    kept += kept_outputs(only(output, beside), "auto", maker) if beside else []
    return [(one, counts[one.place]) for one in kept]


def _flowing(
    parts: Mapping[str, torch.Tensor], counts: Mapping[str, float], *, count: bool
) -> list[str]:
    """The parts through which gradients flow: those that count, or those that do not."""
    return [at for at, one in parts.items() if one.requires_grad and bool(counts[at]) is count]


def _of_graph(output: object, kind: Kind, shares: OutputShares) -> list[tuple[KeptOutput, float]]:
    """The parts of an ONNX graph's output that are floats and numbers, with what each counts."""
    parts = _numbers_of(output, kind)
    if not parts:
        return [(find_target(output, kind, lambda _: None), 1.0)]
    counts = shares.of(parts)
    chosen = [place for place, share in counts.items() if share]
    main = find_target(only(output, chosen), kind, lambda _: None).tensor
    first = next((place for place in chosen if parts[place] is main), chosen[0])
    order = sorted(counts, key=lambda place: (not counts[place], place != first))
    return [
        (KeptOutput(parts[place], kind == "logits" and place == first, place=place), counts[place])
        for place in order
    ]


def _numbers_of(output: object, kind: Kind) -> dict[str, torch.Tensor]:
    return {place: one for place, one in float_parts(output).items() if _are_numbers(one, kind)}


def _are_numbers(part: torch.Tensor, kind: Kind) -> bool:
    """Whether an output holds any, and no infinity but those that logits may forbid classes by."""
    return part.numel() > 0 and (kind == "logits" or bool(part.isfinite().all()))


def _leads(tensor: torch.Tensor, wanted: list[torch.nn.Parameter]) -> bool:
    """Whether any of these leads to a tensor; what a function of its own hides is believed."""
    from torch.autograd.function import BackwardCFunction

    ids, seen, left = {id(one) for one in wanted}, set[object](), [tensor.grad_fn]
    if id(tensor) in ids:
        return True
    while left:
        step = left.pop()
        if step is None or step in seen:
            continue
        seen.add(step)
        if issubclass(type(step), BackwardCFunction) or id(getattr(step, "variable", None)) in ids:
            return True
        left += [before for before, _ in step.next_functions]
    return False


@contextmanager
def _differentiable(module: torch.nn.Module) -> Iterator[None]:
    """Let gradients reach all parameters, of which none is kept: how outputs come is looked at."""
    import torch
    from torch.autograd.graph import saved_tensors_hooks

    frozen = [one for one in module.parameters() if not one.requires_grad]
    frozen = [one for one in frozen if one.is_floating_point() and not one.is_inference()]
    for one in frozen:
        one.requires_grad_(True)
    try:
        with torch.enable_grad(), straight(), saved_tensors_hooks(_nothing_of, torch.Tensor):
            yield
    finally:
        for one in frozen:
            one.requires_grad_(False)


def _nothing_of(tensor: torch.Tensor) -> torch.Tensor:
    """What is kept in the place of a tensor that gradients would want."""
    return tensor.new_empty(0)
