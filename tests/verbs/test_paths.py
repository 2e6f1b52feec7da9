"""What is no path where a verb takes one is named for what it is."""

import re

import numpy as np
import pytest

import taut
from taut.errors import ArgumentError

VERBS = {
    "decompress": lambda given, out: taut.decompress(given, out / "x"),
    "export": lambda given, out: taut.export(given, out / "x.safetensors"),
    "info": lambda given, out: taut.info(given),
    "load": lambda given, out: taut.load(given),
    "push": lambda given, out: taut.push(given, "hf://me/x"),
    "report": lambda given, out: taut.report(given, out / "x.html"),
    "verify": lambda given, out: taut.verify(given),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("given", [{"w": np.ones(3)}, 3, None, ["a", "b"]], ids=repr)
def test_a_verb_wants_a_path(verb, given, tmp_path):
    kind = re.escape(type(given).__name__)
    with pytest.raises(ArgumentError, match=rf"a {kind} is not the path of a Taut file"):
        VERBS[verb](given, tmp_path)
    assert list(tmp_path.iterdir()) == []
