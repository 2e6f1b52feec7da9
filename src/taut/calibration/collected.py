"""The curvature of a model's matrices, in the way that the model allows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from taut.analysis import Curvature, Pieces, collect
from taut.analysis.onnx_curvature import collect_onnx
from taut.analysis.onnx_moments import OnnxRunner
from taut.calibration.projections import FEWEST
from taut.errors import ArgumentError
from taut.networks import LoadedModel
from taut.networks.output_vectors import Kind
from taut.networks.quick_products import quick_products
from taut.progress import Progress

if TYPE_CHECKING:
    import torch

    Loss = Callable[[object, object], torch.Tensor]

NO_LOSS = "loss: an ONNX model has no gradients; leave it out"
NO_GRADIENTS = (
    "ONNX has no gradients: layers are weighed by their inputs and by trials; biases are "
    "corrected, norms stay as they are"
)


@quick_products()
def curvature_of(
    model: LoadedModel,
    batches: Callable[[], Iterable[object]],
    *,
    names: Collection[str],
    loss: Loss | None = None,
    output: str | Mapping[str, Kind] = "auto",
    shares: Mapping[str, float] | None = None,
    projections: int = FEWEST,
    seed: int = 0,
    scratch: Path | None = None,
    device: str | None = None,
    progress: Progress | None = None,
    pieces: Pieces | None = None,
) -> dict[str, Curvature]:
    """The curvature of these parameters: by gradients, or by runs forward where there are none.

    `output`, `shares` and `projections` are as `taut.analysis.collect` has them. Of an ONNX model
    those are left out that no batch reached. In `pieces` finished blocks are kept.

    Raises:
        ArgumentError: as `taut.analyze.collect`; or a loss was given, and there are none.
    """
    if model.gradients:
        found = collect(
            model.module,
            batches,
            loss=loss,
            output=output,
            shares=shares,
            projections=projections,
            seed=seed,
            names=set(names),
            scratch=scratch,
            device=device,
            progress=progress,
            pieces=pieces,
        )
        biases = model.folded.biases
        return {name: replace(one, bias=biases.get(name, one.bias)) for name, one in found.items()}
    if loss is not None:
        raise ArgumentError(NO_LOSS)
    network = cast("OnnxRunner", model.module)
    kinds = None if isinstance(output, str) else output
    given = list(batches())
    found = collect_onnx(network, given, kinds=kinds, shares=shares, seed=seed, progress=progress)
    return {name: found[name] for name in names if name in found}
