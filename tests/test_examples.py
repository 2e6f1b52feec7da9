"""The example for the edge, on images that need no download: what it promises, and its files."""

import dataclasses
import importlib
import re
from pathlib import Path

import numpy as np
import pytest

from taut.scoring.results import Evaluation, Metric, Paired, Scores, Subject

torch = pytest.importorskip("torch")
for package in ("sklearn", "matplotlib", "jinja2", "onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package)

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.fixture
def example(monkeypatch):
    """A module of the folder, which is on the path of a script that lies in it."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.delenv("TAUT_ASSETS", raising=False)
    return importlib.import_module


@pytest.mark.slow("trains and compresses a network on photographs, as the example does")
def test_the_whole_way_meets_its_targets(example, tmp_path, capsys):
    main = example("edge_image_classifier").main
    out = tmp_path / "edge"
    assert main(["--quick", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "digits" in printed and "MISSED" not in printed
    before = int(re.search(r"bytes +([\d,]+)", printed)[1].replace(",", ""))
    assert (out / "edge.taut.safetensors").stat().st_size * 8 <= before
    assert (out / "edge.onnx").stat().st_size * 3 < before
    assert "Edge image classifier" in (out / "edge.html").read_text()
    assert "size: 8x" in (out / "plan.yaml").read_text()
    _answers_are_the_files(example, out)
    with pytest.raises(SystemExit) as stopped:
        main(["--quick", "--out", str(out)])
    assert stopped.value.code == 2 and "give --force" in capsys.readouterr().err


def _answers_are_the_files(example, out):
    """The int8 graph, in a plain onnxruntime, says what the Taut file's network says."""
    import onnxruntime
    from sklearn.datasets import load_digits

    import taut

    images = (load_digits().images[:200, None] / 8 - 1).astype(np.float32)
    net = example("residual_network").ResNet(channels=1, blocks=1).eval()
    taut.load(out / "edge.taut.safetensors", into=net)
    session = onnxruntime.InferenceSession(out / "edge.onnx")
    (logits,) = session.run(None, {session.get_inputs()[0].name: images})
    with torch.no_grad():
        wanted = net(torch.from_numpy(images)).numpy()
    assert (logits.argmax(1) == wanted.argmax(1)).mean() >= 0.99
    assert np.linalg.norm(logits - wanted) < 0.1 * np.linalg.norm(wanted)


def test_a_folder_without_the_images_is_refused(example, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        example("edge_image_classifier").main(["--data", str(tmp_path)])
    assert stopped.value.code == 2
    assert "has no cifar10/resnet20_jpegft.safetensors" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("size", "lost", "missed"), [(125, 0.01, 0), (126, 0.01, 1), (125, 0.0101, 1), (126, 0.02, 2)]
)
def test_a_target_is_met_to_the_byte_and_the_point(example, size, lost, missed):
    judge = example("edge_table")
    small = Evaluation(
        Subject("small", size, 1), Subject("net", 1000, 1), (Paired("accuracy", -lost, None, None),)
    )
    kept = dataclasses.replace(small, paired=(Paired("accuracy", 0.0, None, None),))
    assert (
        list(judge.targets(judge.Outcome(small, kept, 0, {}, {})).values()).count(False) == missed
    )


@pytest.mark.parametrize(("accuracy", "met"), [(0.8743, True), (0.8643, True), (0.8641, False)])
def test_the_file_for_phones_has_a_target_where_there_is_one(example, accuracy, met):
    judge = example("edge_table")
    metrics = (Metric("accuracy", 0.8742, None, None),)
    before = Subject("net", 1000, 1, scores=Scores(samples=100, metrics=metrics))
    kept = Evaluation(Subject("small", 100, 1), before, (Paired("accuracy", 0.0, None, None),))
    outcome = judge.Outcome(kept, kept, 0, {}, {}, judge.Lite(300, accuracy))
    asked = judge.targets(outcome)
    assert len(asked) == 4
    assert [good for text, good in asked.items() if text.startswith("int8 LiteRT")] == [met]
