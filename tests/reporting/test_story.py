"""What a story knows of sizes, and data that come back from JSON as they were."""

import json
import math

import pytest

from taut.errors import ArgumentError
from taut.reporting.reading import read_as, read_json
from taut.reporting.story import Story, TensorCost
from taut.scoring.results import (
    Energy,
    Evaluation,
    Fidelity,
    LayerFidelity,
    Memory,
    Metric,
    Paired,
    Scores,
    Speed,
    Subject,
)
from taut.sweep.pareto import Frontier, Point, frontier_of

EVALUATION = Evaluation(
    Subject(
        "small",
        *(100, 400),
        Scores(
            (Metric("accuracy", 0.9, 0.88, 0.92, "higher", (0.8, 1.0)),),
            10,
            ("a", "b"),
            ((4, 1), (0, 5)),
        ),
        Speed(0.002, 0.003, 500.0, 1, 2, 3, 40, "PyTorch"),
        Memory(100, 1600, None, "cpu", {"w": 1600}),
        Energy(None, None, "no counter here"),
    ),
    Subject("large", 1600, 400),
    (Paired("accuracy", -0.01, -0.03, 0.01, 0.95, 3, 4, 0.7),),
    Fidelity(10, 0.99, 0.02, 0.5, None, (LayerFidelity("fc", "Linear", 0.99, 0.02, 0.01),)),
    ("slow machine",),
    {"torch": "2"},
)


def point(name: str, size: int, value: float) -> Point:
    return Point(name, "dial", size, 8 * size / 400, 1600 / size, (Metric("accuracy", value),))


def test_an_evaluation_fills_in_the_sizes_that_a_story_lacks():
    story = Story(evaluation=EVALUATION).completed()
    assert (story.size, story.original_size, story.ratio, story.bits) == (100, 1600, 16.0, 2.0)
    told = Story(size=50, evaluation=EVALUATION).completed()
    assert (told.size, told.ratio) == (50, 32.0)


def test_a_story_without_sizes_has_neither_ratio_nor_bits():
    assert (Story().ratio, Story().bits) == (None, None)
    assert Story(size=0, original_size=8).ratio is None


@pytest.mark.parametrize(
    ("name", "layer"), [("a.b.weight", "a.b"), ("scale", "scale"), (".weight", ".weight")]
)
def test_a_layer_is_what_stands_before_the_last_point(name, layer):
    assert TensorCost(name, (2,), "rd", 8, 1, 4.0, 0.0).layer == layer


def test_an_evaluation_comes_back_from_its_json():
    tree = json.loads(json.dumps(EVALUATION.to_json()))
    assert read_as(Evaluation, tree, "e.json") == EVALUATION


def test_a_frontier_comes_back_from_its_json():
    found = frontier_of("m", "accuracy", point("original", 1600, 0.9), [point("a", 100, 0.8)])
    assert read_as(Frontier, json.loads(json.dumps(found.to_json())), "f.json") == found


def test_a_number_that_json_has_not_is_nan_where_there_must_be_one():
    assert math.isnan(read_as(Metric, {"name": "AUC", "value": None}, "e").value)
    assert read_as(Metric, {"name": "AUC", "value": 1, "low": None}, "e").low is None


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ([], r"e\.json: \[\] is not an object \(Evaluation\)"),
        ({}, "is no Evaluation; it lacks some of .*model"),
        ({"model": {"name": 3, "size": 1, "parameters": 1}}, "e.json: model: name: 3 is not str"),
        ({"model": {"name": "a", "size": True, "parameters": 1}}, "size: true is not int"),
        (
            {"model": {"name": "a", "size": 1, "parameters": 1, "energy": {
                "joules": 1, "source": "guess", "note": ""}}},
            '"guess" is not one of nvml, rapl, estimate',
        ),
        ({"model": None, "paired": {}}, "model: null is not an object"),
    ],
)  # fmt: skip
def test_json_of_something_else_is_named_by_its_place(tree, message):
    with pytest.raises(ArgumentError, match=message):
        read_as(Evaluation, tree, "e.json")


def test_files_that_are_no_json_are_told_apart(tmp_path):
    (tmp_path / "e.json").write_text("{")
    with pytest.raises(ArgumentError, match=r"e\.json: is no JSON"):
        read_json(tmp_path / "e.json", Evaluation)
    with pytest.raises(ArgumentError, match=r"none\.json: cannot be read"):
        read_json(tmp_path / "none.json", Evaluation)
