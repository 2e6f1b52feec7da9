"""A GGUF model is calibrated through transformers, and goes back to GGUF with its metadata."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from tests.forge_gguf import Forged, blob, string

import taut
from taut.errors import ArgumentError
from taut.io.gguf import GgufFile
from taut.io.gguf_floats import gguf_head
from taut.io.gguf_header import GgufValue
from taut.io.gguf_metadata import read_metadata
from taut.networks.gguf_folder import gguf_folder

gguf = pytest.importorskip("gguf")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny llama in Q8_0, with a key that is its own."""
    folder = tmp_path_factory.mktemp("llama")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=96, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
        tie_word_embeddings=False,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(folder / "net")
    taut.compress(folder / "net", folder / "small")
    plain = folder / "plain.gguf"
    taut.export(folder / "small", plain, weights="int8")
    path = folder / "own.gguf"
    path.write_bytes(_with_a_key(GgufFile(plain)))
    return path


def _with_a_key(file: GgufFile) -> bytes:
    more = string("general.author") + struct.pack("<I", 8) + string("nobody")
    header = file.header
    keys = {**header.keys, "general.author": GgufValue(8, 0, 0)}
    tensors = list(header.tensors)
    wider = type(header)(**{**vars(header), "keys": keys})
    head, placed = gguf_head(wider, lambda a, b: file.bytes(a, b) + more, tensors, file_type=7)
    out = bytearray(head)
    for old, new in zip(tensors, placed, strict=True):
        out += bytes(new.start - len(out)) + file.bytes(old.start, old.start + old.nbytes)
    return bytes(out + bytes(-len(out) % 32))


def batches() -> list[dict[str, torch.Tensor]]:
    torch.manual_seed(1)
    return [{"input_ids": torch.randint(0, 96, (2, 16))} for _ in range(3)]


@pytest.mark.slow("a calibrated run, a network of transformers twice")
def test_weights_are_calibrated_under_the_names_of_transformers(
    llama: Path, tmp_path: Path
) -> None:
    out = tmp_path / "small"
    result = taut.compress(llama, out, bits=5, calib=batches(), finish=False)
    assert any("LlamaForCausalLM" in note for note in result.notes)
    assert (out / "config.json").is_file()
    model = taut.load(out)
    assert "model.layers.1.mlp.up_proj.weight" in model
    assert taut.info(out).original_size == llama.stat().st_size
    header, _ = read_metadata(model["gguf.metadata"].tobytes(), "m")
    assert header.text("general.author") == "nobody"
    network = transformers.LlamaForCausalLM(transformers.LlamaConfig.from_pretrained(out))
    taut.load(out, into=network)
    norm = network.model.norm.weight.detach().numpy()
    assert np.array_equal(norm, model["model.norm.weight"])
    judged = taut.evaluate(out, original=llama, calib=batches())
    assert judged.fidelity is not None and 0 < judged.fidelity.rel_mse < 0.1
    original = transformers.AutoModelForCausalLM.from_pretrained(llama.parent, gguf_file=llama.name)
    weight = original.get_parameter("model.layers.1.mlp.up_proj.weight").detach().numpy()
    error = np.square(model["model.layers.1.mlp.up_proj.weight"] - weight).sum()
    assert error < 0.1 * np.square(weight).sum()


def test_the_network_of_a_gguf_file_is_analysed_and_gone_afterwards(llama: Path) -> None:
    report = taut.analyze(llama)
    assert {"blk.0.attn_q.weight", "output.weight"} <= {tensor.name for tensor in report.tensors}


def test_a_gguf_file_is_the_original_that_a_model_is_held_against(
    llama: Path, tmp_path: Path
) -> None:
    with gguf_folder(llama) as made:
        taut.compress(made.path, tmp_path / "small", bits=6)
    found = taut.evaluate(tmp_path / "small", original=llama, calib=batches())
    assert found.original is not None and found.fidelity is not None
    assert found.original.size == llama.stat().st_size and found.original.name == "own.gguf"
    assert 0 < found.fidelity.rel_mse < 0.1
    same = taut.evaluate(llama, original=llama, calib=batches())
    assert same.fidelity is not None and same.fidelity.rel_mse == 0


def test_a_gguf_file_and_its_network_are_held_against_each_other_by_the_network_s_names(
    llama: Path, tmp_path: Path
) -> None:
    small, exact = tmp_path / "small", tmp_path / "exact.taut.safetensors"
    with gguf_folder(llama) as made:
        taut.compress(made.path, small, bits=6)
    taut.compress(llama, exact)
    for first in (llama, exact):  # blocks as ggml has them, in a file of theirs and in one of ours
        found = taut.diff(first, small)
        kinds = {one.name: one for one in found.tensors}
        query = kinds["model.layers.1.self_attn.q_proj.weight"]  # ggml has its rows otherwise
        assert query.state == "changed" and 0 < query.relative < 0.01
        assert {one.state for one in found.tensors} == {"changed", "same"}
        assert found.first == str(first) and any("LlamaForCausalLM" in n for n in found.notes)
    assert taut.diff(small, llama).count("changed") == found.count("changed")
    assert taut.diff(llama, exact).alike
    page = taut.report(small, tmp_path / "page.html", original=llama)
    assert "before" in page.read_text()
    judged = taut.evaluate(exact, original=llama, calib=batches())
    assert judged.fidelity is not None and judged.fidelity.rel_mse == 0


def test_what_transformers_cannot_read_is_compared_by_its_own_names(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(Forged([blob("w", "Q4_0", 4, 64)]).data())
    found = taut.diff(path, {"other": np.zeros(3, np.float32)})
    assert {one.name: one.state for one in found.tensors} == {"w": "missing", "other": "new"}
    assert len(found.notes) == 1


def test_a_split_model_runs_as_one(llama: Path, tmp_path: Path) -> None:
    whole = GgufFile(llama)
    tensors = whole.placed
    for number, part in enumerate((tensors[:5], tensors[5:]), 1):
        keys = {**whole.header.keys, "split.count": GgufValue(2, 0, 0)}
        wider = type(whole.header)(**{**vars(whole.header), "keys": keys})
        more = string("split.count") + struct.pack("<IH", 2, 2)
        head, placed = gguf_head(
            wider, lambda a, b, more=more: whole.bytes(a, b) + more, part, file_type=7
        )
        out = bytearray(head)
        for old, new in zip(part, placed, strict=True):
            out += bytes(new.start - len(out)) + whole.bytes(old.start, old.start + old.nbytes)
        (tmp_path / f"net-{number:05}-of-00002.gguf").write_bytes(out)
    with gguf_folder(llama) as one, gguf_folder(tmp_path / "net-00002-of-00002.gguf") as other:
        first, second = (load_file(found.path / "model.safetensors") for found in (one, other))
        assert first.keys() == second.keys()
        assert all(np.array_equal(first[name], second[name]) for name in first)
        assert other.source.opened[0].header.number("split.count") is None
        assert other.source.opened[0].header.text("general.author") == "nobody"


def test_what_transformers_cannot_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(Forged([blob("w", "Q4_0", 4, 64)]).data())
    with pytest.raises(ArgumentError, match="transformers cannot load it"):
        taut.compress(path, tmp_path / "small", bits=4, calib=batches())
    assert [one.name for one in tmp_path.iterdir()] == ["m.gguf"]


def fields(path: Path) -> dict[str, object]:
    """The metadata as the package reads it."""
    found = {name: field.contents() for name, field in gguf.GGUFReader(path).fields.items()}
    return {name: value for name, value in found.items() if not name.startswith("GGUF.")}


@pytest.mark.slow("a calibrated run, and a network of transformers twice")
def test_an_export_of_what_was_calibrated_has_the_metadata(llama: Path, tmp_path: Path) -> None:
    out, back = tmp_path / "small", tmp_path / "back.gguf"
    taut.compress(llama, out, bits=6, calib=batches(), finish=False)
    done = taut.export(out, back, weights="int8")
    assert any("metadata is that of the original" in note for note in done.notes)
    assert fields(back) == fields(llama)
    first, second = (
        transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name).eval()
        for path in (llama, back)
    )
    ids = torch.arange(20)[None]
    with torch.no_grad():
        a, b = first(ids).logits, second(ids).logits
    assert torch.cosine_similarity(a, b, dim=-1).min() > 0.9


def test_an_export_of_what_was_rounded_without_data_has_the_metadata(
    llama: Path, tmp_path: Path
) -> None:
    small, back = tmp_path / "s.taut.safetensors", tmp_path / "back.gguf"
    taut.compress(llama, small, bits=6)
    taut.export(small, back, weights="int4")
    kinds = {one.name: one.tensor_type.name for one in gguf.GGUFReader(back).tensors}
    assert kinds["blk.0.ffn_up.weight"] == "Q4_0" and kinds["token_embd.weight"] == "Q8_0"
    changed = {key for key, value in fields(back).items() if value != fields(llama)[key]}
    assert changed == {"general.file_type"}
    exact = tmp_path / "e.taut.safetensors"
    taut.compress(llama, exact)
    done = taut.export(exact, tmp_path / "same.gguf")
    assert done.rounded == 0 and fields(tmp_path / "same.gguf") == fields(llama)
    with pytest.raises(ArgumentError, match="leave it out"):
        taut.export(exact, tmp_path / "other.gguf", into=tmp_path)
