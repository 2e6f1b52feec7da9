"""A story with every part that a report can show, of a model that never was."""

import numpy as np
import pytest

from taut.reporting.charts_values import histogram
from taut.reporting.story import Exported, Story, TensorCost
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
from taut.sweep.pareto import Point, frontier_of

HOSTILE = "<script>alert(1)</script>.$\\frac{1}{2}$.weight\n\u202e"
CLASSES = ("cat", "<b>dog</b>", "ship")
LAYERS = (
    *(f"encoder.layer.{number}.attention.output.dense" for number in range(5)),
    HOSTILE.rpartition(".")[0],
)


def subject(name, size, accuracy, factor):
    per_class = (accuracy - 0.05, accuracy, accuracy + 0.05)
    metrics = (
        Metric("accuracy", accuracy, accuracy - 0.01, accuracy + 0.01, "higher", per_class),
        Metric("log loss", 0.4, better="lower"),
    )
    return Subject(
        *(name, size, 60_000),
        Scores(metrics, 300, CLASSES, ((90, 8, 2), (11, 85, 4), (0, 3, 97))),
        Speed(0.002 * factor, 0.003 * factor, 500 / factor, 1, 2, 3, 40, "PyTorch 2.6"),
        Memory(size, 240_000, 9_000, "cpu", {}),
        Energy(None, None, "no counter of energy here"),
        0.01,
    )


def point(name, kind, size, accuracy):
    bits, ratio = 8 * size / 60_000, 240_000 / size
    return Point(name, kind, size, bits, ratio, (Metric("accuracy", accuracy),), 0.9 - accuracy)


@pytest.fixture(scope="session")
def story():
    """Sizes, scores, fidelity, a frontier, sensitivity, values, exports; names are hostile."""
    rng = np.random.default_rng(0)
    before = rng.standard_normal(4000).astype(np.float32)
    tensors = tuple(
        TensorCost(f"{layer}.weight", (100, 100), "rd", 40_000, 3_000 + 500 * number, 2.4, error)
        for number, (layer, error) in enumerate(
            zip(LAYERS, (0.01, 0.02, 0.1, 1e-3, 0.0, 0.3), strict=True)
        )
    )
    layers = tuple(
        LayerFidelity(layer, "Linear", 0.99, 0.01 * number + 0.001, 0.004)
        for number, layer in enumerate(LAYERS)
    )
    points = [
        point("2 bits", "dial", 15_000, 0.8),
        point("3 bits", "dial", 23_000, 0.88),
        point("4 bits", "dial", 30_000, 0.9),
        point("int4:g64", "grid", 32_000, 0.86),
    ]
    original = point("original", "original", 240_000, 0.9)
    return Story(
        "A model that never was",
        *(23_000, 240_000, 60_000),
        Evaluation(
            subject("small", 23_000, 0.88, 1.0),
            subject("large", 240_000, 0.9, 1.01),
            (Paired("accuracy", -0.02, -0.04, -0.005, 0.95, 3, 9, 0.14),),
            Fidelity(300, 0.98, 0.03, 1.5, 0.02, layers),
            ("The machine was busy.",),
            {"torch": "2.6"},
        ),
        tensors,
        (
            histogram("layer.0.weight", before, np.round(before)),
            histogram(HOSTILE, None, rng.standard_normal(4000)),
        ),
        {tensor.name: 1.0 / (1 + number) for number, tensor in enumerate(tensors)},
        "predicted loss at rd:3",
        frontier_of("m", "accuracy on 300 samples", original, points),
        "3 bits",
        (Exported("m.onnx", "onnx", 61_000, 3, 2, "onnxruntime 1.20", 1e-4, 1e-9, 0.999999),),
        "target: 10x\n# <i>as given</i>\n",
        {"file": HOSTILE},
        ("One tensor was kept.",),
    )  # fmt: skip
