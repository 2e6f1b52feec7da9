"""A packed folder, loaded as its users will: by transformers and compressed-tensors.

Surprise: compressed-tensors 0.20 makes room for unpacked zero points when transformers loads a
folder, so that packed ones, which it writes itself, do not fit; they load where transformers is
asked to dequantise.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil

from taut.errors import VerifyError
from taut.exporting.compressed_tensors.parts import Parts
from taut.exporting.transformers_network import network_of, quiet

if TYPE_CHECKING:
    import torch


def load_packed(folder: Path, parts: Parts, held: Callable[[str], np.ndarray]) -> str:
    """Load the folder, unpack every layer, and compare it with what the parts stand for.

    Gives the name of what loaded it, or says that it was only read back.

    Raises:
        VerifyError: it does not load, or gives other weights.
    """
    try:
        from compressed_tensors import __version__
        from compressed_tensors.compressors import decompress_module
    except ImportError:
        return "read back (compressed-tensors, which would load it, is not installed)"
    need = 4 * sum(prod(info.shape) for info in parts.file.infos)
    if 2 * need > psutil.virtual_memory().available:
        return f"read back (to load it takes {need / 1e9:.0f} GB of memory, and was not done)"
    net = _loaded(folder, dequantised=parts.grid.asymmetric)
    modules = dict(net.named_modules())
    for name in parts.packed:
        module = modules[name.removesuffix(".weight")]
        if not parts.grid.asymmetric:
            if getattr(module, "quantization_scheme", None) is None:
                raise VerifyError(f'layer "{name}" is not packed when loaded', tensor=name)
            decompress_module(module)
        wanted = parts.floats(name, held).astype(np.float32)
        weight: torch.Tensor = module.weight
        found = weight.detach().float().numpy()
        # The loader multiplies in its own dtype, which may round once more.
        near = 2.0**-22 if str(weight.dtype) == "torch.float32" else 2.0**-7
        if found.shape != wanted.shape or (np.abs(found - wanted) > near * np.abs(wanted)).any():
            raise VerifyError(f'layer "{name}" has other weights when loaded', tensor=name)
    return f"compressed-tensors {__version__} and transformers"


def _loaded(folder: Path, *, dequantised: bool) -> torch.nn.Module:
    kind, _ = network_of(folder)
    options: dict[str, object] = {}
    if dequantised:
        from transformers import CompressedTensorsConfig

        options["quantization_config"] = CompressedTensorsConfig(dequantize=True)
    try:
        with quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            net, told = kind.from_pretrained(  # type: ignore[attr-defined]
                str(folder),
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
                **options,
            )
    except Exception as error:  # transformers names no set of errors
        raise VerifyError(f"{folder}: transformers cannot load it ({error})") from error
    missing = sorted(told["missing_keys"])
    if missing:
        raise VerifyError(f"{folder}: {len(missing)} tensors are missing when loaded: {missing[0]}")
    loaded: torch.nn.Module = net
    return loaded
