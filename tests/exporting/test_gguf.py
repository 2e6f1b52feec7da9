"""GGUF: names, orders, blocks and metadata, read by the package and by transformers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import taut
from taut.container import TautFile
from taut.errors import ArgumentError
from taut.exporting.gguf.blocks import blocks
from taut.exporting.gguf.networks import arranged, restored
from taut.exporting.gguf.write import export_gguf
from taut.io import open_source

gguf = pytest.importorskip("gguf")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

_SMALL = dict(vocab_size=96, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
              num_attention_heads=4, max_position_embeddings=64)  # fmt: skip


def saved(kind: str, folder: Path, **more: object) -> Path:
    """A tiny network of a class of transformers, as a folder."""
    torch.manual_seed(0)
    if kind == "GPT2":
        config = transformers.GPT2Config(
            vocab_size=96, n_positions=64, n_embd=64, n_layer=2, n_head=4, bos_token_id=1,
            eos_token_id=2,
        )  # fmt: skip
        net = transformers.GPT2LMHeadModel(config)
    else:
        config = getattr(transformers, f"{kind}Config")(**{**_SMALL, **more})
        head = "Model" if kind == "Bert" else "ForCausalLM"
        net = getattr(transformers, kind + head)(config)
    for parameter in net.parameters():  # norms and biases that are told from each other
        torch.nn.init.normal_(parameter, std=0.05)
    net.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def llama(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("llama") / "llama"
    return saved("Llama", folder, num_key_value_heads=2, tie_word_embeddings=False)


def read(path: Path) -> tuple[dict[str, object], dict[str, object]]:
    """Fields and tensors of a file, as the package reads them."""
    reader = gguf.GGUFReader(path)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    return fields, {tensor.name: tensor for tensor in reader.tensors}


@pytest.mark.parametrize("kind", ["Llama", "Mistral", "Qwen2", "GPT2"])
def test_transformers_reads_the_same_network_from_it(tmp_path, kind):
    heads = {} if kind == "GPT2" else {"num_key_value_heads": 2}
    folder = saved(kind, tmp_path / "net", **heads)
    file = TautFile(taut.compress(folder / "model.safetensors", tmp_path / "f").path)
    done = export_gguf(file, tmp_path / "net.gguf", folder)
    assert done.check.runtime.startswith("gguf 0.")
    assert "transformers" in done.check.runtime  # whose network was compared, tensor by tensor
    assert (done.rounded, done.check.max_error) == (0, 0)
    original = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    how = {"config": original.config} if kind == "GPT2" else {}
    back = type(original).from_pretrained(tmp_path, gguf_file="net.gguf", **how).eval()
    ids = torch.arange(20)[None]
    with torch.no_grad():
        assert torch.allclose(original(ids).logits, back(ids).logits, atol=1e-5)


def test_bert_has_its_tensors_and_its_words(tmp_path):
    folder = saved("Bert", tmp_path / "net")
    words = {"[PAD]": 0, "[UNK]": 1, "play": 2, "##ing": 3}
    tree = {
        "model": {"type": "WordPiece", "vocab": words},
        "added_tokens": [{"id": 0, "content": "[PAD]", "special": True}],
    }
    (folder / "tokenizer.json").write_text(json.dumps(tree))
    (folder / "tokenizer_config.json").write_text('{"cls_token": "[UNK]"}')
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    taut.compress(folder, tmp_path / "small")
    done = taut.export(tmp_path / "small", tmp_path / "net.gguf")
    fields, tensors = read(tmp_path / "net.gguf")
    assert fields["general.architecture"] == "bert"
    assert (fields["bert.pooling_type"], fields["tokenizer.ggml.token_type_count"]) == (1, 2)
    assert fields["bert.attention.causal"] is False
    assert fields["tokenizer.ggml.tokens"][:5] == ["[PAD]", "▁[UNK]", "▁play", "ing", "[PAD4]"]
    assert fields["tokenizer.ggml.token_type"][:5] == [3, 1, 1, 1, 5]
    query = open_source(folder).load("encoder.layer.1.attention.self.query.weight")
    assert np.array_equal(tensors["blk.1.attn_q.weight"].data, query)
    assert any("pooler.dense.bias" in note for note in done.notes)


def test_heads_rows_are_interleaved_and_come_back(rng):
    values = rng.standard_normal((24, 5))
    there = arranged(values, "heads", 3)
    # The first head's rows: 0 and 4, 1 and 5, ... are neighbours in a rotary pair.
    assert np.array_equal(there[:4], values[[0, 4, 1, 5]])
    assert np.array_equal(restored(there, "heads", 3), values)


@pytest.mark.parametrize(("kind", "bits"), [("Q8_0", 8), ("Q4_0", 4)])
def test_integers_with_a_scale_of_float16_are_kept(rng, kind, bits):
    half = 1 << (bits - 1)
    q = rng.integers(-half, half, (6, 2, 32))
    q[:, :, 0] = 1  # so that no larger scale would do
    scale = rng.uniform(0.01, 0.1, (6, 2, 1)).astype(np.float16).astype(np.float32)
    values = (q * scale).astype(np.float32).reshape(6, 64)
    data = blocks("w", values, kind, gridded=True)
    found = gguf.dequantize(data, gguf.GGMLQuantizationType[kind])
    assert np.array_equal(found, values)
    rounded = gguf.quantize(values, gguf.GGMLQuantizationType[kind])
    assert kind == "Q8_0" or not np.array_equal(data, rounded)  # which rounds them once more


def test_four_bits_keep_eight_for_the_embedding_and_float_for_vectors(tmp_path, llama):
    taut.compress(llama, tmp_path / "small")
    done = taut.export(tmp_path / "small", tmp_path / "net.gguf", weights="int4")
    fields, tensors = read(tmp_path / "net.gguf")
    kinds = {name: tensor.tensor_type.name for name, tensor in tensors.items()}
    assert kinds["token_embd.weight"] == kinds["output.weight"] == "Q8_0"
    assert kinds["blk.0.attn_q.weight"] == "Q4_0"
    assert kinds["output_norm.weight"] == "F32"
    assert fields["general.file_type"] == 2
    assert fields["llama.attention.head_count_kv"] == 2
    assert done.rounded == sum(kind != "F32" for kind in kinds.values())


def test_the_type_follows_the_schemes_of_the_file(tmp_path, llama):
    names = [info.name for info in open_source(llama).infos if "proj" in info.name]
    taut.compress(llama, tmp_path / "small", plan=dict.fromkeys(names, "int8"))
    taut.export(tmp_path / "small", tmp_path / "net.gguf")
    assert read(tmp_path / "net.gguf")[0]["general.file_type"] == 7


def test_byte_level_pairs_are_written_with_their_merges(tmp_path, llama):
    tree = {
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]},
        "pre_tokenizer": {"type": "ByteLevel", "use_regex": True},
        "added_tokens": [{"id": 3, "content": "<|end|>", "special": True}],
    }
    taut.compress(llama, tmp_path / "small")
    (tmp_path / "small" / "tokenizer.json").write_text(json.dumps(tree))
    done = taut.export(tmp_path / "small", tmp_path / "net.gguf")
    fields, _ = read(tmp_path / "net.gguf")
    assert (fields["tokenizer.ggml.model"], fields["tokenizer.ggml.pre"]) == ("gpt2", "gpt-2")
    assert fields["tokenizer.ggml.merges"] == ["a b"]
    assert fields["tokenizer.ggml.tokens"][:4] == ["a", "b", "ab", "<|end|>"]
    assert not any("vocabulary" in note for note in done.notes)


@pytest.mark.parametrize(
    ("tree", "why"),
    [
        (None, "has no tokenizer.json"),
        ({"model": {"type": "Unigram"}}, "of type Unigram, and only byte-level BPE and WordPiece"),
        ({"model": {"type": "BPE"}, "pre_tokenizer": None}, "is no byte-level BPE"),
        ({"model": {"type": "WordPiece", "vocab": {"x": "y"}}}, "not as tokenizers writes it"),
        ({"model": {"type": "WordPiece", "vocab": {"x": 96}}}, "has 97 tokens, and the embedding"),
    ],
)
def test_a_vocabulary_that_cannot_be_written_is_told(tmp_path, llama, tree, why):
    taut.compress(llama, tmp_path / "small")
    if tree is not None:
        (tmp_path / "small" / "tokenizer.json").write_text(json.dumps(tree))
    done = taut.export(tmp_path / "small", tmp_path / "net.gguf")
    assert any("without a vocabulary" in note and why in note for note in done.notes)
    assert read(tmp_path / "net.gguf")[0]["tokenizer.ggml.model"] == "no_vocab"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architectures": ["ViTModel"]}, r"'ViTModel', which is not .* are: BertModel, GPT2LM"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "type 'yarn' is not written"),
        ({"num_hidden_layers": None}, "num_hidden_layers is None; GGUF needs a whole number"),
        ({"num_hidden_layers": 1}, r'tensor "model.layers.1.*has no place in a llama of GGUF'),
    ],
)
def test_what_the_format_cannot_say_is_refused(tmp_path, llama, change, message):
    taut.compress(llama, tmp_path / "small")
    config = json.loads((llama / "config.json").read_text())
    (tmp_path / "small" / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(ArgumentError, match=message):
        taut.export(tmp_path / "small", tmp_path / "net.gguf")
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


def test_a_value_beyond_float16_names_its_tensor(tmp_path):
    with pytest.raises(ArgumentError, match='"big": its largest value, 100000, is beyond float16'):
        blocks("big", np.full((1, 32), 1e5, np.float32), "Q8_0", gridded=False)
