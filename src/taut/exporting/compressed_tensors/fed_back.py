"""Four-bit floats rounded for an export with feedback of errors, by what data say."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from taut.container import TautFile
from taut.exporting.transformers_network import network_of
from taut.scheme import Scheme
from taut.transform.damping import noise_of
from taut.transform.float4 import float4
from taut.transform.grid import Grid
from taut.transform.runtime import calibrated_grid

if TYPE_CHECKING:
    import torch

    from taut.analysis import Curvature
    from taut.networks import CalibrationSpec, LoadedModel


@dataclass(frozen=True)
class Feedback:
    """What is known of the matrices by name, and what is to be told of the data."""

    curvatures: Mapping[str, Curvature]
    damping: float
    notes: tuple[str, ...] = ()

    def grid(self, name: str, values: np.ndarray, kind: str) -> Grid:
        """A weight on the grid of a kind, each column making good what those before it lost."""
        from taut.calibration.options import Options, make_forms

        curvature = self.curvatures.get(name)
        metric = None
        if curvature is not None and curvature.kind != "none":
            metric = make_forms(curvature, Options(), self.damping)
        if metric is None:
            return float4(values, kind)
        return calibrated_grid(values, Scheme(kind), metric)


def feedback_of(
    file: TautFile, companions: Path, packed: Collection[str], calib: CalibrationSpec
) -> Feedback:
    """What the network of a file, described by the config in a folder, makes of data.

    Raises:
        ArgumentError: the network cannot be built or run, or the data do not fit it.
    """
    from taut.calibration.collected import curvature_of
    from taut.networks import open_calibration

    loaded = _loaded(file, companions)
    data = open_calibration(calib, loaded)
    found = curvature_of(loaded, lambda: data, names=set(packed))
    return Feedback(found, noise_of(list(found.values())), tuple(data.notes))


def _loaded(file: TautFile, companions: Path) -> LoadedModel:
    """The network with the file's tensors, in float32."""
    import torch

    from taut.loading.arrays import TorchFile
    from taut.networks import LoadedModel
    from taut.networks.tokens import open_tokenizer

    kind, config = network_of(companions)
    module: torch.nn.Module = kind._from_config(config).float()  # type: ignore[attr-defined]
    tensors = {name: _widened(one) for name, one in TorchFile(file).tensors()}
    with torch.no_grad():
        module.load_state_dict(tensors, strict=False)
    names = {name: name for name in dict(module.named_parameters()) if name in tensors}
    return LoadedModel(module.eval(), open_tokenizer(companions, module), names, companions)


def _widened(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor
