"""`AutoModel.from_pretrained` on a Taut folder, and the config that asks for it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest

import taut
from taut.container import TautFile
from taut.container.model_folder import mark_config, unmark_config
from taut.errors import ArgumentError, VerifyError

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

CONFIG = Path("config.json")


@pytest.fixture
def bert(tmp_path):
    """A folder with a small BERT that has a head with a tied weight."""
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=200,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
    )
    model = transformers.BertForMaskedLM(config)
    model.save_pretrained(tmp_path / "bert")
    return tmp_path / "bert"


@pytest.fixture
def hf(monkeypatch, tmp_path):
    """The module, and temporary folders where this test can see them."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    import taut.hf

    yield taut.loading.hf_quantizer
    assert list((tmp_path / "temporary").glob("taut-*")) == []


def test_a_taut_folder_of_shards_loads_as_one_model(hf, bert, tmp_path):
    model = transformers.BertForMaskedLM.from_pretrained(bert)
    model.save_pretrained(tmp_path / "sharded", max_shard_size="200KB")
    taut.compress(tmp_path / "sharded", tmp_path / "small")
    assert len(list((tmp_path / "small").glob("*.taut.safetensors"))) > 1
    loaded = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "small")
    assert same(states(loaded), states(model))
    loaded.save_pretrained(tmp_path / "plain")
    assert "taut" not in (tmp_path / "plain" / "config.json").read_text()
    taut.decompress(tmp_path / "small", tmp_path / "back")
    for path in (tmp_path / "sharded").iterdir():
        assert (tmp_path / "back" / path.name).read_bytes() == path.read_bytes()


def states(model):
    """All but the pooler, which is in no file of a masked language model."""
    return {name: tensor for name, tensor in model.state_dict().items() if "pooler" not in name}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[n], second[n]) for n in first)


@pytest.mark.parametrize("kind", ["AutoModelForMaskedLM", "AutoModel"])
@pytest.mark.parametrize("bits", [None, 4])
def test_a_taut_folder_loads_as_the_model_that_it_holds(hf, bert, tmp_path, kind, bits):
    taut.compress(bert, tmp_path / "small", bits=bits, effort="fast")
    model = getattr(transformers, kind).from_pretrained(tmp_path / "small")
    taut.decompress(tmp_path / "small", tmp_path / "plain")
    assert same(
        states(model), states(getattr(transformers, kind).from_pretrained(tmp_path / "plain"))
    )
    if kind == "AutoModelForMaskedLM":
        direct = transformers.BertForMaskedLM(model.config).eval()
        taut.load(tmp_path / "small", into=direct)
        assert same(states(model), states(direct))
        assert model.cls.predictions.decoder.weight is model.bert.embeddings.word_embeddings.weight


def test_the_model_is_an_ordinary_one(hf, bert, tmp_path):
    taut.compress(bert, tmp_path / "small")
    model = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "small")
    assert not hasattr(model.config, "quantization_config")
    model.save_pretrained(tmp_path / "again")
    kept = json.loads((tmp_path / "again" / CONFIG).read_text())
    assert kept == json.loads((bert / CONFIG).read_text())
    ids = torch.arange(12).reshape(2, 6)
    model(input_ids=ids, labels=ids).loss.backward()
    assert model.bert.embeddings.word_embeddings.weight.grad is not None
    assert model.half().dtype == torch.float16


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_dtype_is_the_files_unless_another_is_asked_for(hf, bert, tmp_path, named, dtype):
    model = transformers.AutoModelForMaskedLM.from_pretrained(bert, dtype=dtype)
    model.save_pretrained(tmp_path / "half")
    config = json.loads((tmp_path / "half" / CONFIG).read_text())
    if not named:
        del config["dtype"]
        (tmp_path / "half" / CONFIG).write_text(json.dumps(config))
    taut.compress(tmp_path / "half", tmp_path / "small")
    load = transformers.AutoModelForMaskedLM.from_pretrained
    assert load(tmp_path / "small").dtype == dtype
    assert load(tmp_path / "small", dtype=torch.float32).dtype == torch.float32


def test_shards_load_too(hf, bert, tmp_path):
    model = transformers.AutoModelForMaskedLM.from_pretrained(bert)
    model.save_pretrained(tmp_path / "shards", max_shard_size="100KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    taut.compress(tmp_path / "shards", tmp_path / "small")
    loaded = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "small")
    assert same(states(loaded), states(model))
    taut.decompress(tmp_path / "small", tmp_path / "back")
    for path in (tmp_path / "shards").iterdir():
        assert (tmp_path / "back" / path.name).read_bytes() == path.read_bytes()


def test_a_taut_folder_is_exported_with_the_import_as_without(hf, tmp_path):
    pytest.importorskip("gguf")
    config = transformers.GPT2Config(vocab_size=64, n_positions=8, n_embd=32, n_layer=1, n_head=2)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path / "gpt2")
    taut.compress(tmp_path / "gpt2", tmp_path / "small")
    done = taut.export(tmp_path / "small", tmp_path / "net.gguf")
    assert "transformers" in done.check.runtime and done.check.max_error == 0


def test_damage_is_an_error_and_leaves_nothing(hf, bert, tmp_path):
    file = taut.compress(bert, tmp_path / "small").path
    entry = max(taut.load(file).contents.places.values(), key=lambda p: p.entry.nbytes).entry
    data = bytearray(file.read_bytes())
    data[entry.start + entry.nbytes // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(VerifyError):
        transformers.AutoModel.from_pretrained(tmp_path / "small")


def test_a_pruned_file_says_how_it_can_be_loaded(hf, bert, tmp_path, monkeypatch):
    taut.compress(bert, tmp_path / "small")
    monkeypatch.setattr(TautFile, "modules", {"bert": {"width": 3}})
    with pytest.raises(ArgumentError, match="into=model"):
        transformers.AutoModel.from_pretrained(tmp_path / "small")


def test_without_the_import_it_is_an_error_not_a_random_model(hf, bert, tmp_path, monkeypatch):
    from transformers.quantizers import auto

    taut.compress(bert, tmp_path / "small")
    monkeypatch.delitem(auto.AUTO_QUANTIZATION_CONFIG_MAPPING, "taut")
    with pytest.raises(OSError):
        transformers.AutoModel.from_pretrained(tmp_path / "small")


def test_sentence_transformers_reads_it(hf, minilm, tmp_path):
    sentences = pytest.importorskip("sentence_transformers")
    taut.compress(minilm, tmp_path / "small", effort="fast")
    texts = ["The cat sat on the mat.", "A dog."]
    found = sentences.SentenceTransformer(str(tmp_path / "small"), device="cpu").encode(texts)
    wanted = sentences.SentenceTransformer(str(minilm), device="cpu").encode(texts)
    assert (found == wanted).all()


def test_a_language_model_writes_on_demand(tmp_path):
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=300,
        n_positions=64,
        n_embd=96,
        n_layer=2,
        n_head=4,
        bos_token_id=0,
        eos_token_id=0,
    )
    loaded = transformers.GPT2LMHeadModel(config).eval()
    loaded.save_pretrained(tmp_path / "gpt2")
    taut.compress(tmp_path / "gpt2", tmp_path / "small")
    model = transformers.GPT2LMHeadModel(config).eval()
    taut.load(tmp_path / "small", into=model, on_demand=True)
    wanted = {"max_new_tokens": 12, "do_sample": False, "pad_token_id": 0}
    ids = torch.arange(5, 12)[None]
    assert torch.equal(model.generate(ids, **wanted), loaded.generate(ids, **wanted))
    stats = model.taut.stats
    assert stats.weights == 1 + 2 * 3  # the tied embedding; all of a block but 36 KiB of c_proj
    assert stats.outside == 0


def test_ties_that_were_lost_on_the_meta_device_are_made_again(tmp_path):
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=300, n_positions=8, n_embd=96, n_layer=1, n_head=4)
    loaded = transformers.GPT2LMHeadModel(config).eval()
    taut.compress(loaded, tmp_path / "f")
    with torch.device("meta"):
        model = transformers.GPT2LMHeadModel(config).eval()
        model.lm_head.weight = torch.nn.Parameter(torch.empty(300, 96))  # as accelerate leaves it
    taut.load(tmp_path / "f", into=model, on_demand=True)
    ids = torch.arange(6)[None]
    with torch.no_grad():
        assert torch.equal(model(ids).logits, loaded(ids).logits)
    assert model.lm_head.weight is model.transformer.wte.weight


@pytest.mark.parametrize(
    ("data", "marked"),
    [
        (b'{"model_type": "bert"}', True),
        (b'{\r\n\t"dtype": null, "model_type": "bert"\r\n}\r\n', True),
        (b'{"model_type": "llama", "quantization_config": {"quant_method": "gptq"}}', False),
        (b'\n{"model_type": "bert"}', False),
        (b'{"width": 3}', False),
        (b"{}", False),
        (b"{", False),
        (b"[]", False),
        (b"\xff", False),
    ],
)
def test_a_config_says_taut_and_comes_back_byte_for_byte(data, marked):
    changed = mark_config(CONFIG, data)
    assert unmark_config(CONFIG, changed) == data
    assert (changed != data) == marked
    assert mark_config(Path("1_Pooling/config.json"), data) == data
    if marked:
        tree = json.loads(changed)
        assert tree.pop("quantization_config") == {"quant_method": "taut"}
        assert tree == json.loads(data)
