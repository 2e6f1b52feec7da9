"""Who opens what was pushed by a repository's name: transformers, and what vLLM is given."""

from pathlib import Path

import numpy as np
import pytest

import taut

from .server import Hub

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A small BERT."""
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=20,
        hidden_size=48,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=96,
        max_position_embeddings=32,
    )
    transformers.BertModel(config).save_pretrained(tmp_path / "bert")
    return tmp_path / "bert"


@pytest.mark.parametrize("shard_size", [None, 20_000])
def test_a_repository_is_opened_by_its_name(
    hub: Hub, model: Path, tmp_path: Path, shard_size: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import taut.hf  # registers
    from taut.loading.vllm_weights import decoded, taut_folder

    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setenv("HF_TOKEN", "hf_writer")
    taut.compress(model, tmp_path / "small", shard_size=shard_size)
    hub.add("org/small", {})
    taut.push(tmp_path / "small", "hf://org/small")
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    cache = str(tmp_path / "clients")
    wanted = transformers.BertModel.from_pretrained(model).state_dict()
    net = transformers.AutoModel.from_pretrained("org/small", cache_dir=cache)
    found = net.state_dict()
    assert all(torch.equal(found[name], values) for name, values in wanted.items())
    given = dict(decoded(taut_folder("org/small", None, cache)))
    held = taut.load(tmp_path / "small")
    assert set(given) == set(held)
    assert all(np.array_equal(given[name].numpy(), held[name]) for name in held)


def test_calibrated_from_the_hub(hub: Hub, model: Path, tmp_path: Path) -> None:
    files = {path.name: path.read_bytes() for path in model.iterdir()}
    hub.add("org/bert", files)
    tokens = np.random.default_rng(0).integers(0, 20, (16, 12))
    buffer = tmp_path / "tokens.npy"
    np.save(buffer, tokens)
    hub.add("org/data", {"tokens.npy": buffer.read_bytes()}, kind="dataset")
    made = taut.compress(
        "hf://org/bert", tmp_path / "hub", bits=5, calib="hf://datasets/org/data/tokens.npy",
        finish=False,
    )  # fmt: skip
    here = taut.compress(model, tmp_path / "here", bits=5, calib=str(buffer), finish=False)
    assert made.size == here.size
    name = "model.taut.safetensors"
    assert (tmp_path / "hub" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()


def test_models_are_called_by_their_repositories(hub: Hub, model: Path, tmp_path: Path) -> None:
    hub.add("org/bert", {path.name: path.read_bytes() for path in model.iterdir()})
    taut.compress("hf://org/bert", tmp_path / "small")
    hub.add("org/small", {p.name: p.read_bytes() for p in (tmp_path / "small").iterdir()})
    tokens = [{"input_ids": torch.ones((2, 8), dtype=torch.long)}]
    found = taut.evaluate("hf://org/small", original="hf://org/bert", calib=tokens)
    assert found.model.name == "model.taut.safetensors"
    assert found.original is not None
    assert found.original.name == "bert"
    assert found.fidelity is not None
    assert found.fidelity.cosine > 0.999999
