"""GGUF: names, orders, blocks and metadata, read by the package and by transformers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import taut
from taut.container import TautFile
from taut.errors import ArgumentError
from taut.exporting.gguf import row_parts
from taut.exporting.gguf.blocks import blocks
from taut.exporting.gguf.load_back import Tensor
from taut.exporting.gguf.networks import arranged, restored
from taut.exporting.gguf.write import export_gguf
from taut.io import TensorInfo, open_source

gguf = pytest.importorskip("gguf")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

CONV1D = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
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
    data, kept = blocks("w", values, kind, gridded=True)
    assert kept
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


@pytest.mark.parametrize(
    ("scheme", "kind"), [("int8", "Q8_0"), ("int4:g64", "Q4_0"), ("fp16", "F16"), ("int3", "F32")]
)
def test_each_matrix_is_written_as_what_its_scheme_made_of_it(tmp_path, llama, scheme, kind):
    names = [info.name for info in open_source(llama).infos if "self_attn" in info.name]
    taut.compress(llama, tmp_path / "small", plan=dict.fromkeys(names, scheme))
    done = taut.export(tmp_path / "small", tmp_path / "net.gguf")
    kinds = {name: t.tensor_type.name for name, t in read(tmp_path / "net.gguf")[1].items()}
    assert kinds["blk.0.attn_q.weight"] == kinds["blk.1.attn_output.weight"] == kind
    assert kinds["token_embd.weight"] == kinds["blk.0.ffn_up.weight"] == "F32"  # lossless: as it is
    integers = kind[0] == "Q"
    assert done.rounded == len(names) * integers  # by their scales alone, which is said
    told = [note for note in done.notes if "with the integers of the Taut file" in note]
    assert len(told) == integers
    assert done.check.max_error < 2.0**-11 * 0.3


@pytest.mark.parametrize("scheme", ["int8", "int4:g32"])
def test_a_grid_along_the_other_axis_stays_as_it_was_evaluated(tmp_path, scheme):
    folder = saved("GPT2", tmp_path / "net")
    names = [info.name for info in open_source(folder).infos if info.name.endswith(CONV1D)]
    taut.compress(folder, tmp_path / "small", plan=dict.fromkeys(names, scheme))
    done = taut.export(tmp_path / "small", tmp_path / "net.gguf")
    assert (done.rounded, done.check.max_error) == (0, 0)
    assert any(
        f"{len(names)} tensors (" in n and "no integers of GGUF hold" in n for n in done.notes
    )
    asked = taut.export(tmp_path / "small", tmp_path / "asked.gguf", weights="int8")
    assert any(
        f"{len(names)} tensors (" in note and "rounded once more" in note for note in asked.notes
    )


def test_rows_that_are_no_whole_blocks_stay_as_they_were_evaluated(tmp_path):
    folder = saved("Llama", tmp_path / "net", intermediate_size=40)
    names = [info.name for info in open_source(folder).infos if "down_proj" in info.name]
    taut.compress(folder, tmp_path / "small", plan=dict.fromkeys(names, "int8"))
    done = taut.export(tmp_path / "small", tmp_path / "net.gguf")
    assert (done.rounded, done.check.max_error) == (0, 0)
    assert read(tmp_path / "net.gguf")[1]["blk.0.ffn_down.weight"].tensor_type.name == "F32"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architectures": ["ViTModel"]}, r"'ViTModel', which is not .* are: BertModel, GPT2LM"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "type 'yarn' is not written"),
        ({"hidden_act": "relu"}, "hidden_act is 'relu', for which GGUF has no word"),
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


@pytest.mark.parametrize("kind", ["Llama", "GPT2"])
@pytest.mark.parametrize(
    ("scheme", "weights"),
    [
        ("lossless", "bfloat16"), ("lossless", "int8"), ("lossless", "int4"),
        ("int4:g32", None), ("int8", None), ("fp16", None),
    ],
)  # fmt: skip
def test_a_large_tensor_is_written_some_rows_at_a_time_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, scheme: str, weights: str | None
) -> None:
    folder = saved(kind, tmp_path / "net", **({} if kind == "GPT2" else {"num_key_value_heads": 2}))
    names = [
        i.name for i in open_source(folder).infos if len(i.shape) == 2 and i.shape[1] % 32 == 0
    ]
    plan = {n: scheme for n in names if "embed" not in n and "wpe" not in n and "wte" not in n}
    taut.compress(folder, tmp_path / "small", plan=plan, effort="fast")
    whole = taut.export(tmp_path / "small", tmp_path / "whole.gguf", weights=weights)
    for name, value in (("LARGE", 4096), ("PIECE", 4096)):
        monkeypatch.setattr(row_parts, name, value)
    cut = taut.export(tmp_path / "small", tmp_path / "cut.gguf", weights=weights)
    assert (tmp_path / "cut.gguf").read_bytes() == (tmp_path / "whole.gguf").read_bytes()
    assert (cut.exact, cut.rounded, cut.notes) == (whole.exact, whole.rounded, whole.notes)
    assert cut.check.rel_mse == pytest.approx(whole.check.rel_mse, rel=1e-9)


def test_integers_are_kept_only_where_all_rows_have_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, llama: Path
) -> None:
    name = "model.layers.0.mlp.up_proj.weight"
    taut.compress(llama, tmp_path / "first", plan={name: "int8"}, effort="fast")
    state = dict(taut.load(tmp_path / "first").load_all())
    state[name][-1] *= np.linspace(1, 1.1, 64, dtype=np.float32)  # the last row is on no grid
    parts = row_parts.RowParts(state, tensor_of(name, state[name]))  # type: ignore[arg-type]
    assert not row_parts.holds_integers(parts.values, "Q8_0", "int8")
    state[name] = state[name][:-1]
    parts = row_parts.RowParts(state, tensor_of(name, state[name]))  # type: ignore[arg-type]
    assert row_parts.holds_integers(parts.values, "Q8_0", "int8")


def tensor_of(name: str, values: np.ndarray) -> Tensor:
    info = TensorInfo(name, "F32", values.shape, values.nbytes)
    return Tensor(info, name, "Q8_0", "as it is", 1, "int8")  # type: ignore[arg-type]
