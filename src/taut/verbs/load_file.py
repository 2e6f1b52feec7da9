"""The verb `load_file`: all tensors of a Taut file at once, as safetensors' `load_file`."""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

import numpy as np

from taut.loading.load import framework_of, load

if TYPE_CHECKING:
    import torch

    from taut.container import BaseSpec
    from taut.loading.load import ArraysOf, DeviceSpec, FileSpec, TensorsOf

__all__ = ["load_file"]


@overload
def load_file(
    filename: FileSpec,
    device: None = None,
    *,
    framework: ArraysOf | None = None,
    dtype: str | np.dtype | type | None = None,
    threads: int | None = None,
    base: BaseSpec | None = None,
) -> dict[str, np.ndarray]: ...


@overload
def load_file(
    filename: FileSpec,
    device: DeviceSpec | None = None,
    *,
    framework: TensorsOf,
    dtype: str | torch.dtype | None = None,
    threads: int | None = None,
    base: BaseSpec | None = None,
) -> dict[str, torch.Tensor]: ...


@overload
def load_file(
    filename: FileSpec,
    device: DeviceSpec,
    *,
    framework: TensorsOf | None = None,
    dtype: str | torch.dtype | None = None,
    threads: int | None = None,
    base: BaseSpec | None = None,
) -> dict[str, torch.Tensor]: ...


def load_file(
    filename: FileSpec,
    device: DeviceSpec | None = None,
    *,
    framework: str | None = None,
    dtype: object = None,
    threads: int | None = None,
    base: BaseSpec | None = None,
) -> dict[str, np.ndarray] | dict[str, torch.Tensor]:
    """Decode all tensors of a Taut file into a dict: arrays, or torch's tensors.

    These come with `framework="pt"`, or where a `device` is named. The other arguments, and what is
    raised, are those of `load`, which decodes one tensor at a time.

    >>> import tempfile, pathlib
    >>> from taut.verbs.save_file import save_file
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "m.taut.safetensors"
    >>> _ = save_file({"w": np.eye(3)}, path)
    >>> load_file(path)["w"].sum()
    np.float64(3.0)
    """
    kind = framework_of(framework, device, dtype)
    with load(  # type: ignore[misc, call-overload]
        filename,
        framework=kind,
        device=device,
        dtype=dtype,
        threads=threads,
        base=base,
    ) as file:
        found: dict[str, np.ndarray] | dict[str, torch.Tensor] = file.load_all(threads=threads)
    return found
