"""Hostile settings of low-bit weights: in a Taut file, in a config, in a state of bitsandbytes."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.io import low_bit_folders as made

import taut
from taut.errors import ArgumentError, FormatError
from taut.io import open_source
from taut.io.quantized import as_floats

from .conftest import REFUSAL
from .forge import Forgery
from .test_indexes import STRANGE, at, places

GOLDEN = Path(__file__).parents[1] / "golden" / "files" / "low_bit2.taut.safetensors"
MOST = 1 << 20  # values that any weight here can have


def spoilt(tree: Any) -> list[Any]:
    """The tree with a strange value in each place in turn, and without each key."""
    found = []
    for place in places(tree):
        for strange in STRANGE:
            other = copy.deepcopy(tree)
            at(other, place[:-1])[place[-1]] = strange
            found.append(other)
        if isinstance(at(tree, place[:-1]), dict):
            other = copy.deepcopy(tree)
            del at(other, place[:-1])[place[-1]]
            found.append(other)
    return found


def read_floats(source: Any) -> None:
    """Load everything; what is refused is refused in our words."""
    try:
        floats = as_floats(source)
        for info in floats.infos:
            assert np.prod(info.shape) <= MOST
            floats.load(info.name)
    except FormatError:
        return


def test_settings_in_a_file_are_refused_or_harmless(tmp_path):
    forgery = Forgery.of(GOLDEN.read_bytes())
    sound = copy.deepcopy(forgery.tree["source"]["quantization"])
    path = tmp_path / "forged.taut.safetensors"
    for tree in [*spoilt(sound), *STRANGE]:
        forgery.tree["source"]["quantization"] = tree
        try:
            path.write_bytes(forgery.signed())
        except (ValueError, UnicodeEncodeError):  # no JSON
            continue
        try:
            file = taut.load(path, dequantize=True)
            for name in file:
                assert file[name].size <= MOST
        except (*REFUSAL, ArgumentError):
            continue


KINDS = {
    "gptq": (made.CONFIGS["gptq"], made.gptq_layer),
    "fp8": (made.CONFIGS["fp8"], made.fp8_layer),
    "packed": (made.packed_config(), made.packed_layer),
    "nvfp4": (made.packed_config(4, "float"), lambda rng: made.nvfp4_layer(rng, divided=True)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_config_is_refused_or_harmless(rng, tmp_path, kind):
    settings, make = KINDS[kind]
    arrays, _ = make(rng)
    folder = made.write_folder(tmp_path, arrays, settings)
    tree = json.loads((folder / "config.json").read_text())
    for other in spoilt(tree):
        try:
            text = json.dumps(other)
            (folder / "config.json").write_text(text)
        except UnicodeEncodeError:
            continue
        read_floats(open_source(folder))


@pytest.mark.parametrize("kind", ["gptq", "fp8", "packed", "nvfp4", "nf4"])
def test_tensors_of_other_shapes_and_dtypes_are_refused(rng, tmp_path, kind):
    make = {**KINDS, "nf4": (made.CONFIGS["nf4"], made.nf4_layer)}
    settings, layer = make[kind]
    arrays, _ = layer(rng)
    for name, values in arrays.items():
        for other in (
            np.zeros((0,), values.dtype),
            np.zeros((), np.float32),
            np.zeros((2, 2, 2, 2), np.int32),
            np.full((3,), 255, np.uint8),
            values.reshape(-1)[:-1].copy(),
        ):
            read_floats(open_source(made.write_folder(tmp_path, {**arrays, name: other}, settings)))


def test_a_state_is_refused_or_harmless(rng, tmp_path):
    arrays, _ = made.nf4_layer(rng)
    name = "l.weight.quant_state.bitsandbytes__nf4"
    for tree in [*spoilt(json.loads(arrays[name].tobytes())), *STRANGE]:
        try:
            text = json.dumps(tree).encode()
        except (ValueError, UnicodeEncodeError):
            continue
        state = {name: np.frombuffer(text, np.uint8)}
        folder = made.write_folder(tmp_path, arrays | state, made.CONFIGS["nf4"])
        read_floats(open_source(folder))
