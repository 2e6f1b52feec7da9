"""`import taut` is light, and its verbs are there when they are needed."""

import json
import subprocess
import sys

import pytest

import taut

HEAVY = {
    *("torch", "transformers", "sentence_transformers", "onnx", "safetensors", "huggingface_hub"),
    *("typer", "click", "rich", "pydantic", "yaml", "psutil", "scipy"),
}


def fresh(code: str) -> object:
    """What a new interpreter prints as JSON."""
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def imported_by(code: str) -> set[str]:
    before = "import sys, json; old = set(sys.modules)\n"
    after = "\nprint(json.dumps(sorted({m.partition('.')[0] for m in set(sys.modules) - old})))"
    modules = fresh(before + code + after)
    assert isinstance(modules, list)
    return set(modules)


def test_import_brings_in_nothing_heavy() -> None:
    modules = imported_by("import taut")
    assert "taut" in modules
    assert not modules & HEAVY


def test_numpy_work_needs_no_torch() -> None:
    modules = imported_by("import taut; [getattr(taut, verb) for verb in taut.__all__]")
    assert "numpy" in modules
    assert not modules & {"torch", "transformers", "typer", "rich"}


def test_verbs_are_functions_whatever_was_imported_first() -> None:
    code = (
        "import json, taut.verbs.compress, taut.verbs.load, taut.exporting, taut.sweep\n"
        "import taut.analysis.curvature, taut.planning.plan, taut.reporting\n"
        "names = {}\n"
        "for verb in taut.__all__:\n"
        "    exec(f'from taut import {verb} as verb', names)\n"
        "    names[verb] = [type(names['verb']).__name__, names['verb'] is getattr(taut, verb)]\n"
        "print(json.dumps({verb: names[verb] for verb in taut.__all__}))"
    )
    assert fresh(code) == {verb: ["function", True] for verb in taut.__all__}
    assert set(taut.__all__) <= set(dir(taut))


def test_a_name_that_is_no_verb_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError) as caught:
        taut.squeeze  # type: ignore[attr-defined]  # noqa: B018
    assert str(caught.value) == "module 'taut' has no attribute 'squeeze'"


def test_the_front_door_fits_a_screen() -> None:
    assert taut.__file__
    with open(taut.__file__) as lines:
        assert sum(1 for _ in lines) < 30
