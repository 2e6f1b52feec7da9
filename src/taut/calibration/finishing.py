"""The finishing touches of a calibrated run: what is no matrix, tuned to the original's outputs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from taut.calibration.biases import corrected_biases
from taut.calibration.overlay import as_stored
from taut.calibration.start import Started
from taut.calibration.values import show
from taut.calibration.vectors import Vectors
from taut.networks.output_kind import other_kinds, output_kind
from taut.networks.sharing import of_several_layers
from taut.scheme import Scheme


def corrected(started: Started) -> Vectors:
    """Biases that make up for what the last rounding did to mean outputs; nothing is tuned.

    A bias that layers share is left alone: what helps one would add to the error of the others.
    """
    work = started.work
    shared = of_several_layers(work.model.module)
    tensors = {
        parameter: work.source.aliases.get(tensor, tensor)
        for tensor, parameter in work.model.names.items()
        if parameter not in shared
    }
    return Vectors(corrected_biases(started.rounder, work.source, work.schemes, tensors))


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
    from taut.transform.finish import finish

    work, student = started.work, started.student
    show(started, vectors)
    names = student.parameters_of(
        [
            name
            for name, scheme in work.schemes.items()
            if scheme == Scheme("fp16") and name not in work.source.aliases
        ]
    )
    if not names:
        return {}, ""
    teacher = work.model.module
    first = next(iter(work.calibration))
    found = finish(
        student.module,
        teacher,
        lambda: work.calibration,
        list(names),
        kind=output_kind(teacher, first),
        others=other_kinds(teacher, first),
        seed=work.request.seed,
        progress=work.progress,
    )
    infos = {info.name: info for info in work.source.infos}
    tuned = {
        names[parameter]: as_stored(infos[names[parameter]], values)
        for parameter, values in found.values.items()
    }
    return tuned, f"finishing: {found.note}" if found.note else ""
