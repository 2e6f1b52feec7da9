"""How near two models are on the same inputs, without labels, and which layer lost it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sized
from typing import TYPE_CHECKING

from taut.errors import ArgumentError
from taut.evaluation._follow import Follow
from taut.evaluation._near import Divergence, Near, choices, unwrapped, vectors
from taut.evaluation._still import still
from taut.networks.calls import run, samples_of
from taut.networks.output_kind import output_kind
from taut.networks.output_vectors import logs_of
from taut.networks.outputs import find_target
from taut.scoring.results import Fidelity

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
    or probabilities by their values, or are called logits). Layers are matched by
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
    follow, outputs, divergence = Follow(original, module), Near(), Divergence()
    total = len(batches) if isinstance(batches, Sized) else 0
    kind = {None: "auto", True: "logits", False: "features"}[logits]
    samples, told = 0, "logits"
    with still(module, original):
        for number, batch in enumerate(batches, 1):
            old, new = _outputs(module, original, batch, follow, kind, number)
            if logits is None:
                told = output_kind(original, batch)
                logits = told != "features"
            whole = old.ndim >= 4
            outputs.add(vectors(old, batch, whole=whole), vectors(new, batch, whole=whole))
            a, b = (choices(z, batch, last=told == "last") for z in (old, new))
            if told == "probabilities":
                a, b = logs_of(a), logs_of(b)
            if logits and a.shape[1] > 1:
                divergence.add(a, b)
            samples += samples_of(unwrapped(batch))
            if progress:
                progress("fidelity", number, total)
    if not samples:
        raise ArgumentError("fidelity: there is no batch to run the models on")
    layers = follow.layers()
    kl = divergence.mean if divergence.rows else None
    found = Fidelity(samples, outputs.cosine, outputs.rel_mse, outputs.largest, kl, layers)
    return found, follow.left_out


def _outputs(
    module: torch.nn.Module,
    original: torch.nn.Module,
    batch: object,
    follow: Follow,
    kind: str,
    number: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The original's output for a batch and the new one's, both with the same random numbers."""
    import torch

    torch.manual_seed(0)
    with follow.original(batch):
        found = run(original, batch, f"fidelity, batch {number}, the original")
    old = find_target(found, kind, lambda _: None).tensor.clone()
    torch.manual_seed(0)
    with follow.new():
        found = run(module, batch, f"fidelity, batch {number}")
    new = find_target(found, kind, lambda _: None).tensor
    if new.shape != old.shape:
        raise ArgumentError(
            f"fidelity, batch {number}: the original's output is {list(old.shape)}, the new "
            f"model's {list(new.shape)}; they must do the same task"
        )
    return old, new
