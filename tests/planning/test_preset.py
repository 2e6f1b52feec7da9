"""The presets: each says what it does, and each is a plan that can be carried out."""

import errno
import os
from pathlib import Path

import pytest

from taut.errors import ArgumentError
from taut.io import TensorInfo
from taut.planning import load_plan, preset_names, preset_text, resolve
from taut.planning.plan import read_plan

MODEL = [
    TensorInfo("a.weight", "F32", (64, 64), 4 * 64 * 64),
    TensorInfo("a.bias", "F32", (64,), 4 * 64),
    TensorInfo("ids", "I64", (1, 512), 8 * 512),
]


@pytest.mark.parametrize("name", preset_names())
@pytest.mark.parametrize("infos", [MODEL, MODEL[:1]], ids=["mixed", "one matrix"])
def test_each_says_what_it_needs_and_fits_models(name: str, infos: list[TensorInfo]) -> None:
    plan = load_plan(name)
    assert plan.about is not None and "Needs" in plan.about
    assert "--train" in plan.about or plan.recipe.training is None
    resolve(plan, infos, {})  # raises where a rule decides nothing


def test_what_each_asks() -> None:
    schemes = {
        name: {tensor: one and str(one.scheme) for tensor, one in found.items()}
        for name in preset_names()
        for found in [resolve(load_plan(name), MODEL, {})]
    }
    assert schemes["lossless"] == dict.fromkeys(("a.weight", "a.bias", "ids"), "lossless")
    assert schemes["edge"] == {"a.weight": "int8", "a.bias": None, "ids": None}
    assert set(schemes["server"].values()) == {None}
    server, tiny = load_plan("server"), load_plan("tiny")
    assert server.target is not None and server.target.bits == 4 and server.effort == "fast"
    assert tiny.target is not None and tiny.target.size == "20x"
    training = tiny.recipe.training
    assert training is not None and training.bits and training.mask is not None
    assert (training.mask.sparsity, training.mask.gradual) == (0.8, True)


def test_a_file_of_the_name_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_plan("edge") == read_plan(preset_text("edge"))
    Path("edge").mkdir()  # a folder is no plan
    assert load_plan(Path("edge")) == read_plan(preset_text("edge"))
    Path("edge").rmdir()
    Path("edge").write_text("taut: 1\nseed: 5")
    assert load_plan("edge").seed == 5


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("egde", "; nor is it a preset; nearest: edge; all: edge, lossless, server, tiny"),
        ("egde.yaml", ""),
        ("../egde", ""),
    ],
)
def test_a_name_that_is_neither(name: str, told: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        load_plan(name)
    assert str(caught.value) == f"{name}: cannot be read ({os.strerror(errno.ENOENT)}){told}"


def test_an_unknown_preset_has_no_text() -> None:
    with pytest.raises(ArgumentError, match='no "serve"; nearest: server; all: edge, lossless'):
        preset_text("serve")


def test_the_wheel_has_the_presets() -> None:
    mapping = pytest.importorskip("scikit_build_core.build._pathutil").packages_to_file_mapping
    root = Path(__file__).parents[2]
    if not (root / "pyproject.toml").is_file():
        pytest.skip("not in the source tree")
    found = mapping(
        packages={"taut": str(root / "src" / "taut")},
        platlib_dir=Path("wheel"),
        include=[],
        src_exclude=[],
        target_exclude=[],
        build_dir="",
        mode="default",
    )
    names = {Path(path).name for path in found if path.endswith(".yaml")}
    assert {f"{name}.yaml" for name in preset_names()} <= names
