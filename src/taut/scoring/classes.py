"""Metrics of predicted classes: scikit-learn's values, and their intervals from resampled counts.

Accuracy, precision, recall and F1 depend on samples through counts alone: how many have which true
and which predicted class. So a resample is one multinomial draw of these cells.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from taut.scoring.checked import Floats, Integers
from taut.scoring.extra import need_eval
from taut.scoring.intervals import Ranked, bootstrap, counts, interval, resamples
from taut.scoring.outcome import Classified
from taut.scoring.results import Metric

TOP: Final = 5
FEWEST: Final = 10  # samples a class: of fewer, resamples lack classes and lean to one side
NAMES: Final = ("precision", "recall", "f1")
FRACTIONS: Final = (
    *("accuracy", f"top{TOP}_accuracy"),
    *(f"{name}_{average}" for average in ("micro", "macro") for name in NAMES),
)
"""Metrics that are fractions of something, and that people give in percent."""

_SORTED: Final = 8  # steps of a resample for each sample and class of the AUC


def class_metrics(samples: Classified, seed: int) -> Iterator[Metric]:
    """Accuracy first, then top-5, precision, recall and F1 (micro, macro), and the AUC."""
    number = len(samples.classes)
    cells, held = unique_cells(samples.labels, samples.predictions)
    drawn = _drawn(cells, held, number, seed)
    yield _bounded(accuracy(samples), drawn.get("accuracy"))
    if samples.logits is not None and number > TOP:
        yield _top(samples, seed)
    metrics = need_eval("sklearn.metrics")
    truth, said = samples.labels, samples.predictions
    alone = metrics.precision_recall_fscore_support(
        truth, said, labels=np.arange(number), average=None, zero_division=0
    )
    for average in ("micro", "macro"):
        found = metrics.precision_recall_fscore_support(
            truth, said, average=average, zero_division=0
        )
        for place, name in enumerate(NAMES):
            per_class = tuple(map(float, alone[place])) if average == "macro" else ()
            metric = Metric(f"{name}_{average}", float(found[place]), per_class=per_class)
            # Of one label a sample, all micro averages are the accuracy.
            yield _bounded(metric, drawn.get("accuracy" if average == "micro" else metric.name))
    if samples.logits is not None and len(np.unique(truth)) > 1:
        yield _auc(samples, seed)


def accuracy(samples: Classified) -> Metric:
    """The fraction of samples whose class was found."""
    metrics = need_eval("sklearn.metrics")
    return Metric("accuracy", float(metrics.accuracy_score(samples.labels, samples.predictions)))


def confusion(samples: Classified) -> tuple[tuple[int, ...], ...]:
    """Counts of samples by true (rows) and predicted class."""
    found = need_eval("sklearn.metrics").confusion_matrix(
        samples.labels, samples.predictions, labels=np.arange(len(samples.classes))
    )
    return tuple(tuple(map(int, row)) for row in found)


def unique_cells(*columns: Integers) -> tuple[Integers, Integers]:
    """The combinations that occur, (columns, cells), and how many samples each has."""
    cells, held = np.unique(np.stack(columns), axis=1, return_counts=True)
    return cells, held.astype(np.int64)


def averages(
    labels: Integers, predictions: Integers, held: Integers, classes: int
) -> dict[str, Floats]:
    """Accuracy and macro averages of each row of `held`: counts of cells, (resamples, cells).

    `labels` and `predictions` are those of the cells. A class that neither is nor was predicted
    does not count, as in scikit-learn.
    """
    hits = labels == predictions
    right = _tally(labels[hits], held[:, hits], classes)
    true, said = _tally(labels, held, classes), _tally(predictions, held, classes)
    alive = np.maximum((true + said > 0).sum(1), 1)
    macro = {
        "precision": right / np.maximum(said, 1),
        "recall": right / np.maximum(true, 1),
        "f1": 2 * right / np.maximum(true + said, 1),
    }
    found = {f"{name}_macro": values.sum(1) / alive for name, values in macro.items()}
    return {"accuracy": right.sum(1) / np.maximum(true.sum(1), 1), **found}


def _drawn(cells: Integers, held: Integers, classes: int, seed: int) -> dict[str, Floats]:
    number = resamples(len(held))
    blocks = [averages(cells[0], cells[1], block, classes) for block in counts(held, number, seed)]
    found = joined(blocks)
    return found if held.sum() >= FEWEST * classes else {"accuracy": found["accuracy"]}


def joined(blocks: list[dict[str, Floats]]) -> dict[str, Floats]:
    """The estimates of all blocks by name."""
    return {name: np.concatenate([b[name] for b in blocks]) for name in (blocks or [{}])[0]}


def _tally(of: Integers, held: Integers, classes: int) -> Floats:
    """Sums of the cells' counts by class, (resamples, classes)."""
    sparse = need_eval("scipy.sparse")
    shape = (classes, len(of))
    sums = sparse.csr_matrix((np.ones(len(of)), (of, np.arange(len(of)))), shape=shape)
    return np.asarray((sums @ held.T).T, np.float64)


def _bounded(metric: Metric, drawn: Floats | None) -> Metric:
    if drawn is None:
        return metric
    low, high = interval(drawn)
    return Metric(metric.name, metric.value, low, high, metric.better, metric.per_class)


def _top(samples: Classified, seed: int) -> Metric:
    metrics = need_eval("sklearn.metrics")
    value = metrics.top_k_accuracy_score(
        samples.labels, samples.logits, k=TOP, labels=np.arange(len(samples.classes))
    )
    hits = round(float(value) * len(samples))
    held = np.array([hits, len(samples) - hits])
    drawn = np.concatenate(list(counts(held, resamples(1), seed)))
    return _bounded(Metric("top5_accuracy", float(value)), drawn[:, 0] / len(samples))


def _auc(samples: Classified, seed: int) -> Metric:
    """One class against the rest, the mean over classes that have samples; of two, the second's.

    The area is the chance that a sample of the class has more of it than one of another: from the
    ranks of the class's samples (Mann and Whitney 1947).
    """
    assert samples.logits is not None
    sure = need_eval("scipy.special").log_softmax(samples.logits, axis=1)
    number = len(samples.classes)
    ranked = {
        one: Ranked(sure[:, one])
        for one in ((1,) if number == 2 else np.unique(samples.labels).tolist())
    }
    area = need_eval("sklearn.metrics").roc_auc_score
    alone = {one: float(area(samples.labels == one, order.places)) for one, order in ranked.items()}

    def resampled(weights: Floats) -> Floats:
        areas = [_areas(order, samples.labels == one, weights) for one, order in ranked.items()]
        return np.asarray(np.mean(areas, axis=0))

    value = float(np.mean(list(alone.values())))
    per_class = tuple(alone.get(one, float("nan")) for one in range(number)) * (number > 2)
    drawn = None
    if len(samples) >= FEWEST * number:
        drawn = bootstrap(len(samples), resampled, seed, work=_SORTED * len(ranked))
    return _bounded(Metric("auc", value, per_class=per_class), drawn)


def _areas(order: Ranked, positive: np.ndarray, weights: Floats) -> Floats:
    """The area of each resample; one half where it has samples of one side alone."""
    ranks = order.ranks(weights)
    inside = weights[:, positive]
    ones = inside.sum(1)
    others = weights.sum(1) - ones
    above = (inside * ranks[:, positive]).sum(1) - ones * (ones + 1) / 2
    return np.where(ones * others > 0, above / np.maximum(ones * others, 1), 0.5)
