"""The tables of a page that stand beside no chart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from taut.reporting import numbers as say
from taut.reporting.chart import Table
from taut.reporting.scale import Scale, named, scale_of
from taut.reporting.story import Exported, Story
from taut.scoring.results import (
    Evaluation,
    Fidelity,
    Metric,
    OutputFidelity,
    Paired,
    Subject,
)


def metric_table(evaluation: Evaluation | None) -> Table | None:
    """Every metric before and after, with its interval and the paired difference."""
    if evaluation is None or evaluation.model.scores is None:
        return None
    pairs = {paired.metric: paired for paired in evaluation.paired}
    old = metrics_of(evaluation.original)
    rows = []
    for metric in evaluation.model.scores.metrics:
        before = old.get(metric.name)
        pair = pairs.get(metric.name)
        scale = scale_of(metric, before.value if before else None)
        rows.append(
            (
                named(metric),
                interval(before, scale) if before else "-",
                interval(metric, scale),
                difference(metric, before, pair),
                "-" if pair is None or pair.p_value is None else _p(pair.p_value),
            )
        )
    head = ("metric", "before", "after", "difference", "p")
    return Table(head, tuple(rows), caption="Scores, with 95 % intervals") if rows else None


def paired_sentences(evaluation: Evaluation | None) -> tuple[str, ...]:
    """What the same samples say of both models, a sentence each."""
    found = []
    for pair in evaluation.paired if evaluation else ():
        if pair.agreement is not None:
            found.append(f"Both say the same on {say.share(pair.agreement)} of the samples.")
        if pair.gained is not None and pair.lost is not None:
            found.append(_turned(pair.gained, pair.lost))
    return tuple(dict.fromkeys(found))


def _turned(gained: int, lost: int) -> str:
    """How many samples are right or wrong now that were not.

    >>> _turned(1, 2300)
    '1 sample is right now that was wrong, 2,300 are wrong now that were right.'
    """
    noun = "sample" if gained == 1 else "samples"
    (is_now, was), (lost_now, lost_was) = (
        ("is", "was") if number == 1 else ("are", "were") for number in (gained, lost)
    )
    return (
        f"{say.exact(gained)} {noun} {is_now} right now that {was} wrong, "
        f"{say.exact(lost)} {lost_now} wrong now that {lost_was} right."
    )


def fidelity_table(evaluation: Evaluation | None) -> Table | None:
    """How near the outputs stayed, without labels."""
    found = evaluation.fidelity if evaluation else None
    if found is None:
        return None
    rows = [*_near_rows(found, f"output {found.name}" if found.name else "the outputs")]
    for one in found.others:
        rows += _near_rows(one, f"output {one.name}")
    rows.append(("samples", say.exact(found.samples)))
    return Table(
        ("measure", "value"), tuple(rows), caption="Outputs of both on the same inputs", sorts=False
    )


def _near_rows(near: Fidelity | OutputFidelity, of: str) -> Iterator[tuple[str, str]]:
    """What is told of one output."""
    yield f"mean cosine of {of}", say.cosine(near.cosine)
    yield "relative squared error", say.digits(near.rel_mse)
    yield "largest difference", say.digits(near.max_error)
    if near.kl is not None:
        yield "mean KL divergence, nats", say.digits(near.kl)


def export_table(exports: Sequence[Exported]) -> Table | None:
    """What each export holds, and what it gave when it was run."""
    rows = [
        (
            *(found.name, found.format, say.size(found.size), str(found.exact)),
            *(str(found.rounded), found.runtime or "not run"),
            *("-" if x is None else say.digits(x) for x in (found.max_error, found.rel_mse)),
            "-" if found.cosine is None else say.cosine(found.cosine),
        )
        for found in exports
    ]
    head = (
        *("export", "format", "size", "exact tensors", "rounded", "run in", "largest error"),
        *("error", "cosine"),
    )
    return Table(head, tuple(rows), left=2, caption="Exports") if rows else None


def scheme_table(story: Story) -> Table | None:
    """Tensors, weights and bytes by scheme, the most bytes first."""
    found: dict[str, list[int]] = {}
    for tensor in story.tensors:
        entry = found.setdefault(tensor.scheme, [0, 0, 0])
        for place, number in enumerate((1, tensor.values, tensor.bytes)):
            entry[place] += number
    if not found:
        return None
    ordered = sorted(found.items(), key=lambda item: (-item[1][2], item[0]))
    return Table(
        ("scheme", "tensors", "weights", "bytes", "bits per weight"),
        tuple(
            (
                *(scheme, str(tensors), say.count(values), say.size(nbytes)),
                say.digits(8 * nbytes / values) if values else "-",
            )
            for scheme, (tensors, values, nbytes) in ordered
        ),
        caption="By scheme",
    )


def tensor_table(story: Story) -> Table | None:
    """Every tensor on a line."""
    if not story.tensors:
        return None
    return Table(
        ("tensor", "shape", "scheme", "before", "after", "bits", "error"),
        tuple(
            (
                *(tensor.name, "×".join(map(str, tensor.shape)) or "scalar", tensor.scheme),
                *(say.size(tensor.before), say.size(tensor.bytes), say.digits(tensor.bits)),
                say.digits(tensor.rel_mse),
            )
            for tensor in story.tensors
        ),
        left=3,
        caption="All tensors",
    )


def metrics_of(subject: Subject | None) -> dict[str, Metric]:
    """The metrics of a model by name."""
    found = subject.scores.metrics if subject and subject.scores else ()
    return {metric.name: metric for metric in found}


def difference(metric: Metric, before: Metric | None, pair: Paired | None) -> str:
    """What a metric gained or lost, and on a second line the interval of that."""
    base = before.value if before else metric.value
    scale = scale_of(metric, base)
    if pair is None:
        return scale.change(metric.value - before.value, base) if before else "-"
    text = scale.change(pair.difference, base)
    if pair.low is None or pair.high is None:
        return text
    return f"{text}\n{scale.spread(pair.low, pair.high, base)}"


def interval(metric: Metric, scale: Scale) -> str:
    """A value, and on a second line its interval, where it has one."""
    if metric.low is None or metric.high is None:
        return scale.value(metric.value)
    return f"{scale.value(metric.value)}\n{scale.between(metric.low, metric.high)}"


def _p(value: float) -> str:
    return "< 0.0001" if value < 0.0001 else say.digits(value, 2)
