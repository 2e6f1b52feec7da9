"""Products of float32 matrices by the library that is quicker, where it is as exact.

PyTorch multiplies matrices on a processor by MKL, which takes half of what processors of AMD can
do. oneDNN, which comes with PyTorch as well, takes it all, but PyTorch asks it only where bfloat16
products would do. On processors that have units for these (AMX), products then are of that
precision; on others they are of float32, as is tried before it is believed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Final

_EXACT: Final = 1e-5  # relative error; float32 has some 1e-7 here, bfloat16 some 1e-3


@contextmanager
def quick_products() -> Iterator[None]:
    """Multiply float32 matrices by oneDNN, if that is as exact as MKL; else nothing is changed.

    It holds for the whole process, and ends with the context. Where somebody set a precision by
    PyTorch's newer names, or another than the usual one, that stays.
    """
    import torch

    before = _precision()
    if before != "highest" or not _as_exact():
        yield
        return
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def usual_products() -> Iterator[None]:
    """Within `quick_products`, what PyTorch does by itself: for code of the user's own."""
    import torch

    if not products_are_quick():
        yield
        return
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision("medium")


def products_are_quick() -> bool:
    """Whether a context of `quick_products` holds, and changed something."""
    return _precision() == "medium" and _as_exact()


def _precision() -> str:
    import torch

    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:  # set by the newer names, which do not go with the older
        return ""


@cache
def _as_exact() -> bool:
    """Whether products by oneDNN are of float32's precision on this machine."""
    import torch

    there: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not there or torch.cuda.is_available():  # there the same setting makes products coarser
        return False
    drawn = torch.Generator().manual_seed(1)
    left, right = (torch.randn(256, 256, generator=drawn) for _ in range(2))
    exact = left.double() @ right.double()
    before = _precision()
    torch.set_float32_matmul_precision("medium")
    try:
        found = (left @ right).double()
    finally:
        torch.set_float32_matmul_precision(before)
    return float((found - exact).norm() / exact.norm()) < _EXACT
