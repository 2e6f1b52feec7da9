"""Writes the golden folder of several models, once: nothing here overwrites a file.

Run from the repository's root: `python tests/golden/make_tree.py`.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from safetensors.numpy import save_file

import taut

FOLDER = Path(__file__).parent / "files" / "tree"


def models() -> dict[str, dict[str, np.ndarray]]:
    """Files below the folder, with their tensors."""
    rng = np.random.default_rng(3)
    weight = (rng.standard_normal((40, 64)) * 0.1).astype(np.float32)
    return {
        "text/model.safetensors": {"w": weight, "same": weight.copy()},
        "vae/a.safetensors": {"w": weight.astype(np.float16)},
        "vae/b.safetensors": {"bias": np.arange(10, dtype=np.int64)},
    }


def main() -> None:
    """Write the folder, if it is not there yet."""
    if FOLDER.exists():
        raise SystemExit(f"{FOLDER} exists: golden files are never written again")
    with TemporaryDirectory() as made:
        for name, tensors in models().items():
            path = Path(made, name)
            path.parent.mkdir(exist_ok=True)
            save_file(tensors, path)
        taut.compress(made, FOLDER)


if __name__ == "__main__":
    main()
