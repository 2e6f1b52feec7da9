"""Hostile deltas behind valid checksums: refused, or tensors of the right size."""

import copy
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from tests.thorough import examples

from taut.container import open_base, open_taut
from taut.errors import ArgumentError

from .conftest import REFUSAL
from .forge import Forgery, collapse
from .test_indexes import STRANGE, at, places
from .test_streams import damaged

GOLDEN = Path(__file__).parents[1] / "golden" / "deltas"
BASE = load_file(GOLDEN / "base.safetensors")


def check(path, data):
    """Every tensor is refused, or has the size that the index says."""
    path.write_bytes(data)
    try:
        file = open_taut(path)
    except REFUSAL:
        return
    file.stand_on(open_base(BASE))
    for info in file.infos:
        try:
            assert file[info.name].nbytes == info.nbytes
        except (*REFUSAL, ArgumentError) as error:
            assert str(path) in str(error)


@pytest.mark.parametrize("name", ["exact", "lossy"])
def test_a_wrong_value_in_the_index_of_a_delta_is_refused_or_harmless(name, tmp_path):
    forgery = Forgery.of((GOLDEN / f"{name}.taut.safetensors").read_bytes())
    forgery.signed()
    sound = collapse(forgery.tree)
    everywhere, rng = list(places(sound)), np.random.default_rng(1)
    for _ in range(examples(150)):
        path = everywhere[rng.integers(len(everywhere))]
        tree = copy.deepcopy(sound)
        at(tree, path[:-1])[path[-1]] = STRANGE[rng.integers(len(STRANGE))]
        check(tmp_path / "strange", forgery.around(zlib.compress(json.dumps(tree).encode())))


@pytest.mark.parametrize("name", ["exact", "lossy"])
def test_damaged_arrays_of_a_delta_are_refused_or_of_the_right_size(name, tmp_path):
    data, rng = (GOLDEN / f"{name}.taut.safetensors").read_bytes(), np.random.default_rng(2)
    for _ in range(examples(150)):
        forgery = Forgery.of(data)
        parts = forgery.parts[list(forgery.parts)[rng.integers(len(forgery.parts))]]
        number = int(rng.integers(len(parts)))
        parts[number] = damaged(rng, parts[number], parts[-1])
        check(tmp_path / "damaged", forgery.signed())


def test_a_base_of_another_size_never_reaches_the_decoder(tmp_path):
    forgery = Forgery.of((GOLDEN / "exact.taut.safetensors").read_bytes())
    record = forgery.record("few")  # its solid group now stands on a tensor of fewer bytes
    record["shape"] = [64, 95]
    check(tmp_path / "short", forgery.signed())


def test_a_file_that_is_its_own_base_ends(tmp_path):
    forgery = Forgery.of((GOLDEN / "exact.taut.safetensors").read_bytes())
    forgery.tree["base"] = {"name": "b.taut.safetensors"}
    (tmp_path / "a.taut.safetensors").write_bytes(forgery.signed())
    forgery.tree["base"] = {"name": "a.taut.safetensors"}
    (tmp_path / "b.taut.safetensors").write_bytes(forgery.signed())
    with pytest.raises(ArgumentError, match="stand on one another"):
        open_taut(tmp_path / "a.taut.safetensors")
