"""What a user's `score(model)` gave: numbers, or arrays with one entry a sample, checked.

Three kinds of arrays are known: classes (`labels` with `logits` or `predictions`), numbers beside
wanted numbers (`targets` and `values`), and negative log-likelihoods (`nll`). Floats of the user's
own may stand beside them. What comes first is what decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np

from taut.errors import ArgumentError
from taut.io.names import nearest
from taut.scoring.checked import (
    Floats,
    Integers,
    is_array,
    read_floats,
    read_integers,
    read_logits,
    read_names,
    read_number,
    same_length,
    want,
    within,
)

_KINDS: Final = (("labels", "logits", "predictions", "classes"), ("targets", "values"),
                 ("nll", "tokens", "bytes"))  # fmt: skip
_ARRAYS: Final = tuple(name for kind in _KINDS for name in kind)
_MOST: Final = 1 << 20  # classes: more is a mistake, as token ids for labels would be


@dataclass(frozen=True)
class Classified:
    """Samples with a true and a predicted class; `logits` are (samples, classes) or None."""

    labels: Integers
    predictions: Integers
    logits: Floats | None
    classes: tuple[str, ...]

    def __len__(self) -> int:
        """Samples."""
        return len(self.labels)


@dataclass(frozen=True)
class Valued:
    """Samples with a number wanted and the number that the model gave."""

    targets: Floats
    values: Floats

    def __len__(self) -> int:
        """Samples."""
        return len(self.targets)


@dataclass(frozen=True)
class Likely:
    """Negative log-likelihoods in nats; of so many tokens and bytes each, where that was said."""

    nll: Floats
    tokens: Integers | None
    bytes: Integers | None

    def __len__(self) -> int:
        """Samples."""
        return len(self.nll)


Samples: TypeAlias = Classified | Valued | Likely


@dataclass(frozen=True)
class Outcome:
    """What a score gave of one model: `numbers` of the user's own, and samples or None.

    `own_first` says that a number of the user's is what decides.
    """

    numbers: Mapping[str, float] = field(default_factory=dict)
    samples: Samples | None = None
    own_first: bool = True


def read_outcome(found: object, where: str) -> Outcome:
    """What a score function gave, checked; `where` begins the messages, as "score".

    `found` is a number, a dict of numbers, or a dict with the arrays of one kind:
    {"labels": int (n,), "logits": float (n, classes)}, or "predictions": int (n,) for the logits,
    and "classes": their names; {"targets": float (n,), "values": float (n,)}; or
    {"nll": float (n,)} with "tokens" and "bytes": int (n,). Arrays are numpy's, lists, or tensors.

    Raises:
        ArgumentError: it is nothing of this; the message says what, and at which sample.

    >>> outcome = read_outcome({"labels": [0, 1], "logits": [[2.0, 1.0], [0.5, 0.0]]}, "score")
    >>> outcome.samples.predictions
    array([0, 0])
    """
    if not isinstance(found, Mapping):
        return Outcome({"score": read_number(found, where)})
    if not found:
        raise ArgumentError(f"{where}: gave an empty dict; it must give numbers or arrays")
    kind = _kind(found, where)
    numbers = _numbers({name: one for name, one in found.items() if name not in kind}, where)
    if not kind:
        return Outcome(numbers)
    arrays = {name: found[name] for name in kind if name in found and found[name] is not None}
    own_first = next(iter(found)) not in kind
    return Outcome(numbers, _read_samples(arrays, where), own_first)


def _numbers(found: Mapping[object, Any], where: str) -> dict[str, float]:
    """Numbers of the user's own, by their names."""
    numbers = {}
    for name, value in found.items():
        if not isinstance(name, str):
            raise ArgumentError(f"{where}: gave the key {name!r}; names of numbers are texts")
        if is_array(value) and np.size(value) != 1:
            raise ArgumentError(
                f'{where}: "{name}" is an array; known are {", ".join(_ARRAYS)}'
                f"{nearest(name, _ARRAYS)}"
            )
        numbers[name] = read_number(value, f'{where}: "{name}"')
    return numbers


def _kind(found: Mapping[object, object], where: str) -> tuple[str, ...]:
    """The names of the kind of arrays that there is one of; () where all are numbers."""
    heads = [kind for kind in _KINDS if any(is_array(found.get(name)) for name in kind)]
    if len(heads) > 1:
        one, other = (next(n for n in kind if is_array(found.get(n))) for kind in heads[:2])
        raise ArgumentError(f'{where}: "{one}" and "{other}" are of two kinds; give one of them')
    return heads[0] if heads else ()


def _read_samples(arrays: Mapping[str, object], where: str) -> Samples:
    if "labels" in arrays or "logits" in arrays or "predictions" in arrays or "classes" in arrays:
        return _classified(arrays, where)
    if "nll" in arrays or "tokens" in arrays or "bytes" in arrays:
        return _likely(arrays, where)
    want(arrays, where, "targets", "values")
    targets = read_floats(arrays["targets"], f"{where}: targets")
    values = read_floats(arrays["values"], f"{where}: values")
    same_length(where, targets=targets, values=values)
    if (targets == targets[0]).all():
        raise ArgumentError(f"{where}: all targets are {targets[0]:g}: nothing can follow them")
    return Valued(targets, values)


def _classified(arrays: Mapping[str, object], where: str) -> Classified:
    want(arrays, where, "labels")
    labels = read_integers(arrays["labels"], f"{where}: labels")
    names = read_names(arrays["classes"], f"{where}: classes") if "classes" in arrays else ()
    if "logits" in arrays:
        logits = read_logits(arrays["logits"], f"{where}: logits")
        same_length(where, labels=labels, logits=logits)
        number, predictions = logits.shape[1], logits.argmax(1).astype(np.int64)
        if "predictions" in arrays:  # they may be the user's own choice, by a threshold
            predictions = read_integers(arrays["predictions"], f"{where}: predictions")
    elif "predictions" in arrays:
        logits, predictions = None, read_integers(arrays["predictions"], f"{where}: predictions")
        number = len(names) or 1 + max(int(labels.max()), int(predictions.max()))
    else:
        raise ArgumentError(f'{where}: gave "labels"; give "logits" (or "predictions") too')
    same_length(where, labels=labels, predictions=predictions)
    if number > _MOST:
        raise ArgumentError(f"{where}: {number:,} classes are too many; are these labels?")
    if names and len(names) != number:
        raise ArgumentError(f"{where}: {len(names)} classes are named, and there are {number}")
    within(labels, number, f"{where}: labels")
    within(predictions, number, f"{where}: predictions")
    return Classified(labels, predictions, logits, names or tuple(map(str, range(number))))


def _likely(arrays: Mapping[str, object], where: str) -> Likely:
    want(arrays, where, "nll")
    nll = read_floats(arrays["nll"], f"{where}: nll")
    if (nll < -1e-6).any():
        at = int((nll < -1e-6).argmax())
        raise ArgumentError(f"{where}: nll is {nll[at]:g} at sample {at}; give -log p, in nats")
    counts: dict[str, Integers] = {}
    for name in ("tokens", "bytes"):
        if name in arrays:
            counts[name] = read_integers(arrays[name], f"{where}: {name}")
            same_length(where, **{"nll": nll, name: counts[name]})
            if (counts[name] < 0).any() or not counts[name].any():
                raise ArgumentError(f"{where}: {name} are counts; none may be below 0, nor all 0")
    return Likely(nll, counts.get("tokens"), counts.get("bytes"))
