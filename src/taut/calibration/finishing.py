"""The finishing touches of a calibrated run: what is no matrix, tuned to the original's outputs."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial

import numpy as np

from taut.calibration.biases import corrected_biases
from taut.calibration.chain_judge import chain_judge
from taut.calibration.overlay import as_stored
from taut.calibration.shown import show
from taut.calibration.start import Started
from taut.calibration.vectors import Vectors
from taut.encoding.on_base import differs, is_the_base
from taut.networks.sharing import of_several_layers
from taut.scheme import Scheme


def corrected(started: Started) -> Vectors:
    """Biases that make up for what the last rounding did to mean outputs; nothing is tuned.

    A bias that layers share is left alone: what helps one would add to the error of the others.
    """
    work = started.work
    tensors = bias_tensors(started)
    return Vectors(corrected_biases(started.rounder, work.source, work.schemes, tensors))


def bias_tensors(started: Started) -> dict[str, str]:
    """Parameters that may be biases to tensors that hold values of their own.

    One that is to stay a base's own is none of them.
    """
    work = started.work
    shared = of_several_layers(work.model.module)
    exact = [
        info
        for info in work.source.infos
        if work.schemes.get(info.name) == Scheme() and len(info.shape) == 1
    ]
    own = {info.name for info in exact if is_the_base(work.source, info)}
    found = {
        parameter: work.source.aliases.get(tensor, tensor)
        for tensor, parameter in work.model.names.items()
        if parameter not in shared
    }
    return {parameter: tensor for parameter, tensor in found.items() if tensor not in own}


def finished(started: Started, vectors: Vectors, dial: float) -> Vectors:
    """Vectors for the matrices of a dial: biases corrected, and all tuned if that was asked for.

    `vectors` are those so far, which stay if they were finished for this dial.
    """
    if vectors.dial == dial:
        return vectors

    def made() -> tuple[Mapping[str, np.ndarray], str]:
        started.rounder.turn(dial, started.work.progress)
        found = corrected(started)
        if not started.work.request.finish:
            return found.values, ""
        tuned, note = _tuned(started, found)
        return {**found.values, **tuned}, note

    values, note = started.record.vectors(dial, made)
    return Vectors(values, dial, note)


def _tuned(started: Started, vectors: Vectors) -> tuple[dict[str, np.ndarray], str]:
    """What is no matrix, by tensor, tuned until the outputs are the original's; and a note."""
    from taut.transform.affordable import affordable_steps
    from taut.transform.finish import finish

    work, student = started.work, started.student
    if started.compressed is None:
        show(started, vectors)
    names = _tunable(started)
    if not names:
        return {}, ""
    teacher, compressed = work.model.module, started.compressed
    held = started.held  # its kinds are from the network as it is
    steps = None
    with ExitStack() as stack:
        judge_of = None
        if compressed is not None:
            middle = started.held.others[len(started.held.others) // 2]
            steps = affordable_steps(teacher, middle, forwards=2)
            stack.enter_context(compressed.open(vectors, tuned=True))
            judge_of = partial(chain_judge, started, compressed)
        found = finish(
            student.module if compressed is None else teacher,
            teacher,
            lambda: work.calibration,
            list(names),
            kind=held.kind,
            others=held.beside,
            shares=held.shares,
            steps=steps,
            seed=work.request.seed,
            progress=work.progress,
            judge_of=judge_of,
        )
    infos = {info.name: info for info in work.source.infos}
    tuned = {
        names[parameter]: as_stored(infos[names[parameter]], values)
        for parameter, values in found.values.items()
    }
    return tuned, f"finishing: {found.note}" if found.note else ""


def _tunable(started: Started) -> dict[str, str]:
    """What is no matrix: parameters of the network to the tensors that the file holds as fp16."""
    work = started.work
    every = work.model.module.named_parameters(remove_duplicate=False)
    known = {name for name, one in every if one.is_floating_point()} - work.model.folded.idle
    names, infos = work.model.names, {info.name: info for info in work.source.infos}
    return {
        names[name]: name
        for name, scheme in work.schemes.items()
        if scheme == Scheme("fp16")
        and names.get(name) in known
        and name not in work.source.aliases
        and not differs(work.source, infos[name])
    }
