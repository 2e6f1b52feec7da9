"""A way to run the command line in this process, and a small model to run it on."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner, Result

from taut.cli.app import app


@pytest.fixture
def run() -> Callable[..., Result]:
    """`run("compress", path, "-q")` gives exit_code, stdout and stderr; a bug raises."""

    def invoke(*args: object) -> Result:
        result = CliRunner().invoke(app, [str(arg) for arg in args])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke


@pytest.fixture
def model(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A safetensors file: a compressible matrix, a vector, a scalar, a tensor of indices."""
    weights = (rng.standard_normal((64, 256)) * 0.05).astype(np.float32)
    tensors = {
        "layer.weight": weights,
        "layer.bias": np.zeros(64, np.float32),
        "scale": np.array(1.5, np.float32),
        "ids": np.arange(512).reshape(1, 512),
    }
    path = tmp_path / "net.safetensors"
    save_file(tensors, path, metadata={"format": "pt"})
    return path
