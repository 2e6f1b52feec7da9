"""What a user's `score(model)` gave: numbers, or arrays with one entry a sample, checked.

Three kinds of arrays are known: classes (`labels` with `logits` or `predictions`), numbers beside
wanted numbers (`targets` and `values`), and negative log-likelihoods (`nll`). Floats of the user's
own may stand beside them. What comes first is what decides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, SupportsFloat, TypeAlias

import numpy as np
from numpy.typing import NDArray

from taut.errors import ArgumentError
from taut.io.names import nearest
from taut.io.pytorch import is_tensor, to_numpy

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]

_KINDS: Final = (("labels", "logits", "predictions", "classes"), ("targets", "values"),
                 ("nll", "tokens", "bytes"))  # fmt: skip
_ARRAYS: Final = tuple(name for kind in _KINDS for name in kind)
_RULED_OUT: Final = -1e300  # for minus infinity, which scikit-learn refuses
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
        return Outcome({"score": _number(found, where)})
    if not found:
        raise ArgumentError(f"{where}: gave an empty dict; it must give numbers or arrays")
    kind = _kind(found, where)
    numbers = {}
    for name, value in found.items():
        if name in kind:
            continue
        if not isinstance(name, str):
            raise ArgumentError(f"{where}: gave the key {name!r}; names of numbers are texts")
        if _is_array(value) and np.size(value) != 1:
            raise ArgumentError(
                f'{where}: "{name}" is an array; known are {", ".join(_ARRAYS)}'
                f"{nearest(name, _ARRAYS)}"
            )
        numbers[name] = _number(value, f'{where}: "{name}"')
    if not kind:
        return Outcome(numbers)
    arrays = {name: found[name] for name in kind if name in found and found[name] is not None}
    own_first = next(iter(found)) not in kind
    return Outcome(numbers, _read_samples(arrays, where), own_first)


def _kind(found: Mapping[object, object], where: str) -> tuple[str, ...]:
    """The names of the kind of arrays that there is one of; () where all are numbers."""
    heads = [kind for kind in _KINDS if any(_is_array(found.get(name)) for name in kind)]
    if len(heads) > 1:
        one, other = (next(n for n in kind if _is_array(found.get(n))) for kind in heads[:2])
        raise ArgumentError(f'{where}: "{one}" and "{other}" are of two kinds; give one of them')
    return heads[0] if heads else ()


def _read_samples(arrays: Mapping[str, object], where: str) -> Samples:
    if "labels" in arrays or "logits" in arrays or "predictions" in arrays or "classes" in arrays:
        return _classified(arrays, where)
    if "nll" in arrays or "tokens" in arrays or "bytes" in arrays:
        return _likely(arrays, where)
    _want(arrays, where, "targets", "values")
    targets = _floats(arrays["targets"], f"{where}: targets")
    values = _floats(arrays["values"], f"{where}: values")
    _same_length(where, targets=targets, values=values)
    if (targets == targets[0]).all():
        raise ArgumentError(f"{where}: all targets are {targets[0]:g}: nothing can follow them")
    return Valued(targets, values)


def _classified(arrays: Mapping[str, object], where: str) -> Classified:
    _want(arrays, where, "labels")
    labels = _integers(arrays["labels"], f"{where}: labels")
    names = _names(arrays["classes"], f"{where}: classes") if "classes" in arrays else ()
    if "logits" in arrays:
        logits = _logits(arrays["logits"], f"{where}: logits")
        _same_length(where, labels=labels, logits=logits)
        number, predictions = logits.shape[1], logits.argmax(1).astype(np.int64)
        if "predictions" in arrays:  # they may be the user's own choice, by a threshold
            predictions = _integers(arrays["predictions"], f"{where}: predictions")
    elif "predictions" in arrays:
        logits, predictions = None, _integers(arrays["predictions"], f"{where}: predictions")
        number = len(names) or 1 + max(int(labels.max()), int(predictions.max()))
    else:
        raise ArgumentError(f'{where}: gave "labels"; give "logits" (or "predictions") too')
    _same_length(where, labels=labels, predictions=predictions)
    if number > _MOST:
        raise ArgumentError(f"{where}: {number:,} classes are too many; are these labels?")
    if names and len(names) != number:
        raise ArgumentError(f"{where}: {len(names)} classes are named, and there are {number}")
    _within(labels, number, f"{where}: labels")
    _within(predictions, number, f"{where}: predictions")
    return Classified(labels, predictions, logits, names or tuple(map(str, range(number))))


def _likely(arrays: Mapping[str, object], where: str) -> Likely:
    _want(arrays, where, "nll")
    nll = _floats(arrays["nll"], f"{where}: nll")
    if (nll < -1e-6).any():
        at = int((nll < -1e-6).argmax())
        raise ArgumentError(f"{where}: nll is {nll[at]:g} at sample {at}; give -log p, in nats")
    counts: dict[str, Integers] = {}
    for name in ("tokens", "bytes"):
        if name in arrays:
            counts[name] = _integers(arrays[name], f"{where}: {name}")
            _same_length(where, **{"nll": nll, name: counts[name]})
            if (counts[name] < 0).any() or not counts[name].any():
                raise ArgumentError(f"{where}: {name} are counts; none may be below 0, nor all 0")
    return Likely(nll, counts.get("tokens"), counts.get("bytes"))


def _number(value: object, where: str) -> float:
    if isinstance(value, str | bytes) or not isinstance(value, SupportsFloat):
        raise ArgumentError(
            f"{where}: gave a {type(value).__name__}; it must give one number, higher is better"
        )
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError):  # an array of several
        raise ArgumentError(f"{where}: gave several numbers; it must give one") from None
    if not math.isfinite(number):
        raise ArgumentError(f"{where}: gave {number}; it must give a finite number")
    return number


def _is_array(value: object) -> bool:
    """Whether a value has axes; a 0-d tensor has none, and is a number."""
    if isinstance(value, list | tuple):
        return True
    return bool(getattr(value, "ndim", 0)) and not isinstance(value, str)


def _array(value: object, where: str) -> np.ndarray:
    if is_tensor(value):
        value = value.detach().cpu()
        value = to_numpy(value.double() if value.is_floating_point() else value)
    try:
        array = np.asarray(value)
    except ValueError:  # rows of several lengths
        raise ArgumentError(f"{where}: the rows differ in length") from None
    if array.dtype.kind not in "biuf":
        what = "texts" if array.dtype.kind in "US" else f"{array.dtype}"
        raise ArgumentError(f"{where}: are {what}; give numbers")
    if not array.size:
        raise ArgumentError(f"{where}: is empty; give at least one sample")
    return array


def _floats(value: object, where: str, axes: int = 1) -> Floats:
    array = _array(value, where)
    if array.ndim != axes:
        raise ArgumentError(f"{where}: has shape {list(array.shape)}; give one number a sample")
    array = array.astype(np.float64)
    bad = ~np.isfinite(array)
    if bad.any():
        at = int(bad.argmax())
        raise ArgumentError(f"{where}: is {array[at]:g} at sample {at} ({bad.sum()} in all)")
    return array


def _logits(value: object, where: str) -> Floats:
    array = _array(value, where)
    if array.ndim != 2 or array.shape[1] < 2:
        raise ArgumentError(
            f"{where}: has shape {list(array.shape)}; give (samples, classes), of two classes or "
            "more; reshape(-1, classes) puts positions among the samples"
        )
    array = array.astype(np.float64)
    # Minus infinity rules a class out, which is allowed unless it rules out all.
    bad = np.isnan(array).any(1) | (array == np.inf).any(1) | (array == -np.inf).all(1)
    if bad.any():
        at = int(bad.argmax())
        raise ArgumentError(f"{where}: not finite at sample {at} ({bad.sum()} such samples)")
    return np.asarray(np.maximum(array, _RULED_OUT))


def _integers(value: object, where: str) -> Integers:
    array = _array(value, where)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ArgumentError(f"{where}: has shape {list(array.shape)}; give one integer a sample")
    if array.dtype.kind == "f" and not (np.isfinite(array) & (array == np.floor(array))).all():
        raise ArgumentError(f"{where}: are no integers")
    return array.astype(np.int64)


def _names(value: object, where: str) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence | np.ndarray):
        raise ArgumentError(f"{where}: is a {type(value).__name__}; give a list of names")
    names = tuple(str(name) for name in value)
    if len(set(names)) < len(names):
        raise ArgumentError(f"{where}: a name comes twice")
    return names


def _want(arrays: Mapping[str, object], where: str, *names: str) -> None:
    for name in names:
        if name not in arrays:
            raise ArgumentError(f'{where}: gave "{next(iter(arrays))}"; give "{name}" too')


def _same_length(where: str, **arrays: np.ndarray) -> None:
    (one, first), (other, second) = arrays.items()
    if len(first) != len(second):
        raise ArgumentError(f"{where}: {len(first)} {one} and {len(second)} {other}")


def _within(values: Integers, number: int, where: str) -> None:
    bad = (values < 0) | (values >= number)
    if bad.any():
        at = int(bad.argmax())
        raise ArgumentError(
            f"{where}: {values[at]} at sample {at} is no class: they go from 0 to {number - 1} "
            f"({bad.sum()} such samples)"
        )
