"""Real models of other kinds, where the folder of assets lies beside the checkout (CI has it)."""

from pathlib import Path

import pytest

import taut

ASSETS = Path(__file__).resolve().parents[2] / "shared" / "assets"
MODELS = sorted(ASSETS.rglob("*.safetensors"))

pytestmark = [
    pytest.mark.slow("compresses real models, three times each"),
    pytest.mark.skipif(not MODELS, reason="no ../shared/assets beside the checkout"),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda path: path.stem)
def test_a_model_comes_back_byte_for_byte_from_fewer_bytes(model, tmp_path):
    report = taut.compress(model, tmp_path / "exact.taut.safetensors")
    assert report.size < 0.95 * model.stat().st_size
    taut.decompress(tmp_path / "exact.taut.safetensors", tmp_path / "back.safetensors")
    assert (tmp_path / "back.safetensors").read_bytes() == model.read_bytes()


@pytest.mark.parametrize("bits", [2.5, 4])
@pytest.mark.parametrize("model", MODELS, ids=lambda path: path.stem)
def test_a_size_is_met_within_a_percent_from_below(model, bits, tmp_path):
    report = taut.compress(model, tmp_path / "small.taut.safetensors", bits=bits)
    assert 0.99 * bits <= report.bits <= bits
