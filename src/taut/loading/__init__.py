"""A Taut file back as arrays, modules, or the files that it was made of."""

from taut.loading.arrays import TorchFile, to_torch
from taut.loading.load import load
from taut.loading.restore import Restored, decompress

__all__ = ["Restored", "TorchFile", "decompress", "load", "to_torch"]
