"""Writes the golden files of the Laconic file's version 1, once: nothing here overwrites a file.

Run from the repository's root: `python tests/golden/make_files.py`. A model as safetensors, its
bit-exact Laconic file, and a lossy one beside what that decodes to.
"""

from pathlib import Path

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

import laconic

FILES = Path(__file__).parent / "files"


def model() -> dict[str, np.ndarray]:
    """Tensors for every way of storing: coded, solid, kept, alias; and the odd shapes."""
    rng = np.random.default_rng(1)
    weight = (rng.standard_normal((96, 120)) * 0.05).astype(np.float32)
    return {
        "layer.weight": weight,
        "layer.copy": weight.copy(),
        "layer.half": (rng.standard_normal((80, 128)) * 0.1).astype(ml_dtypes.bfloat16),
        "layer.bias": rng.standard_normal(96).astype(np.float32),
        "layer.noise": np.frombuffer(rng.bytes(20_000), np.uint8).copy(),
        "steps": np.array(12345, np.int64),
        "empty": np.empty((0, 7), np.float16),
    }


def main() -> None:
    """Write what is not there yet."""
    FILES.mkdir(exist_ok=True)
    original = FILES / "model.safetensors"
    if original.exists():
        raise SystemExit(f"{original} exists: golden files are never written again")
    save_file(model(), original, metadata={"made": "for the golden files"})
    laconic.compress(original, FILES / "exact.laconic.safetensors")
    laconic.compress(original, FILES / "lossy.laconic.safetensors", size="45%")
    laconic.decompress(FILES / "lossy.laconic.safetensors", FILES / "lossy.safetensors")


if __name__ == "__main__":
    main()
