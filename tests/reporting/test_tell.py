"""A story is gathered from files alone, and says no more than they do."""

import hashlib
import json

import numpy as np
import pytest
from safetensors.numpy import save_file

import taut
from taut.errors import ArgumentError
from taut.exporting.result import Check, Export
from taut.io import open_source
from taut.io.identity import model_identity
from taut.reporting.tell import Evidence, tell
from taut.scoring.results import Evaluation, Metric, Subject, plain
from taut.sweep.pareto import Point, frontier_of


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    rng = np.random.default_rng(0)
    tensors = {f"layer.{n}.weight": (rng.standard_normal((64, 32 * n)) * 0.1) for n in range(1, 9)}
    tensors["ids"] = np.arange(64).reshape(1, 64)
    tensors["layer.1.bias"] = np.zeros(64)
    path = tmp_path_factory.mktemp("model") / "net.safetensors"
    kept = {k: v if k == "ids" else v.astype(np.float32) for k, v in tensors.items()}
    save_file(kept, path, metadata={"format": "pt", "file": "of the source"})
    return path


@pytest.fixture(scope="module")
def small(model):
    out = model.with_name("net.taut.safetensors")
    taut.compress(model, out, bits=3)
    return out


def test_sizes_are_those_of_the_files(model, small):
    story = tell(small)
    assert (story.size, story.original_size) == (small.stat().st_size, model.stat().st_size)
    assert story.title == "net"
    assert sum(t.before for t in story.tensors) == sum(i.nbytes for i in open_source(model).infos)
    assert [t.bytes for t in story.tensors] == [t.bytes for t in taut.info(small).tensors]


def test_the_verb_writes_one_page_and_nothing_over_another(model, small, tmp_path):
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    path = taut.report(small, tmp_path / "x.html", original=model, title="A & B")
    text = path.read_text(encoding="utf-8")
    assert "A &amp; B" in text and "<svg" in text and text.count("<html") == 1
    with pytest.raises(ArgumentError, match="exists"):
        taut.report(small, tmp_path / "x.html")
    assert path.read_text(encoding="utf-8") == text
    taut.report(small, tmp_path / "x.html", force=True)
    assert "A &amp; B" not in path.read_text(encoding="utf-8")


def test_values_shown_are_of_the_largest_matrices_and_of_the_worst(model, small):
    story = tell(small, original=model)
    shown = [found.name for found in story.histograms]
    assert shown[:3] == ["layer.8.weight", "layer.7.weight", "layer.6.weight"]
    left = [t for t in story.tensors if len(t.shape) > 1 and t.rel_mse and t.name not in shown[:3]]
    assert shown[3] == max(left, key=lambda tensor: tensor.rel_mse).name
    assert len(shown) == 6 and "ids" not in shown
    decoded = taut.load(small)["layer.8.weight"]
    assert story.histograms[0].levels == tuple(np.unique(decoded).tolist())
    assert sum(story.histograms[0].before) > 0.998


def test_a_distribution_is_of_the_whole_tensor_however_large(tmp_path, rng):
    """Three million values, far more than are looked at, from the least to the greatest."""
    values = np.sort(rng.uniform(-1, 1, 3_000_000)).astype(np.float32).reshape(1500, 2000)
    save_file({"w": values}, tmp_path / "net.safetensors")
    taut.compress(tmp_path / "net.safetensors", tmp_path / "small", plan={"w": "int4"})
    (shown,) = tell(tmp_path / "small", original=tmp_path / "net.safetensors").histograms
    middle = len(shown.before) // 2
    assert sum(shown.before[middle:]) == pytest.approx(0.5, abs=0.01)
    assert sum(shown.after[middle:]) == pytest.approx(0.5, abs=0.05)
    inner = shown.before[2:-2]
    assert max(inner) < 1.05 * min(inner)


def test_without_the_original_there_is_no_before(small):
    assert all(found.before == () and found.after for found in tell(small).histograms)


def test_a_bit_exact_file_has_no_distributions(model, tmp_path):
    taut.compress(model, tmp_path / "exact.taut.safetensors")
    assert tell(tmp_path / "exact.taut.safetensors", original=model).histograms == ()


def test_provenance_can_be_checked_and_names_no_path(model, small):
    found = tell(small, original=model).provenance
    assert found["SHA-256 of the file"] == hashlib.sha256(small.read_bytes()).hexdigest()
    assert found["XXH3 of the original's tensors"] == model_identity(open_source(model))
    assert (found["file"], found["metadata: file"]) == (small.name, "of the source")
    assert found["original"] == "net.safetensors"
    assert not any(str(small.parent) in text for text in found.values())


def test_files_of_the_other_verbs_are_read(model, small, tmp_path):
    size = small.stat().st_size
    points = [
        Point("3 bits", "dial", size, 3, 10, (Metric("accuracy", 0.8),)),
        Point("int8", "grid", 4 * size, 8, 4, (Metric("accuracy", 0.9),)),
    ]
    original = Point("original", "original", 9 * size, 32, 1, (Metric("accuracy", 0.9),))
    curve = frontier_of("net", "accuracy", original, points)
    check = Check("onnxruntime 1.20", 4, 0.1, 0.01, 0.99)
    export = Export(tmp_path / "deep" / "net.onnx", "onnx", (), 77, 3, 1, check)
    report = taut.analyze(model)
    for name, tree in (
        ("evaluation", Evaluation(Subject("net", size, None)).to_json()),
        ("frontier", curve.to_json()),
        ("export", plain(export)),
        ("analysis", report.to_json()),
    ):
        (tmp_path / f"{name}.json").write_text(json.dumps(tree))
    (tmp_path / "plan.yaml").write_text("bits: 3\n")
    files = Evidence(
        evaluation=tmp_path / "evaluation.json",
        frontier=tmp_path / "frontier.json",
        exports=[tmp_path / "export.json"],
        analysis=tmp_path / "analysis.json",
        plan=tmp_path / "plan.yaml",
    )
    given = Evidence(
        evaluation=Evaluation(Subject("net", size, None)),
        frontier=curve,
        exports=[export],
        analysis=report,
        plan=tmp_path / "plan.yaml",
    )
    story = tell(small, files)
    assert story == tell(small, given)
    assert story.chosen == "3 bits"
    assert (story.exports[0].name, story.exports[0].cosine) == ("net.onnx", 0.99)
    assert story.plan == "bits: 3\n"
    assert story.sensitivity == {}  # nothing was calibrated


def test_numbers_of_another_file_are_doubted(small):
    size = small.stat().st_size
    (note,) = tell(small, Evidence(Evaluation(Subject("other", size + 1, None)))).notes
    assert f"of a file of {size + 1:,} bytes; this one has {size:,}" in note


def test_what_does_not_belong_together_is_refused(model, small, tmp_path):
    save_file({"other": np.zeros((4, 4), np.float32)}, tmp_path / "other.safetensors")
    with pytest.raises(ArgumentError, match=r"none of the tensors of .* give the model that was"):
        tell(small, original=tmp_path / "other.safetensors")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(ArgumentError, match=r"list\.json: \[\] is not an object \(Evaluation\)"):
        tell(small, Evidence(tmp_path / "list.json"))
    with pytest.raises(ArgumentError, match=r"plan\.yaml: cannot be read"):
        tell(small, Evidence(plan=tmp_path / "plan.yaml"))
