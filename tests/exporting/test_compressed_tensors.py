"""Packed folders: the integers of the file, in the words that compressed-tensors itself packs."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import taut
from taut.container import TautFile
from taut.errors import ArgumentError, VerifyError
from taut.exporting.compressed_tensors.packed import PackedGrid, pack, unpack
from taut.exporting.compressed_tensors.packing import Packing
from taut.exporting.compressed_tensors.write import export_compressed_tensors
from taut.exporting.integers import to_integers
from taut.exporting.scales import stored
from taut.io import open_source
from taut.io.quantized import as_floats

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.skipif(
    find_spec("compressed_tensors") is None, reason="compressed-tensors is not installed"
)  # not imported here: it takes twice as long as PyTorch


@pytest.fixture(scope="module")
def llama(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=96,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=False,
    )
    folder = tmp_path_factory.mktemp("llama") / "llama"
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def projections(llama) -> list[str]:
    return [info.name for info in open_source(llama).infos if "proj" in info.name]


def compressed(llama: Path, out: Path, projections: list[str], scheme: str) -> TautFile:
    taut.compress(llama, out, plan=dict.fromkeys(projections, scheme))
    return taut.load(out)


def loaded(folder: Path) -> torch.nn.Module:
    how = transformers.CompressedTensorsConfig(dequantize=True)
    return transformers.LlamaForCausalLM.from_pretrained(folder, quantization_config=how).eval()


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("columns", [64, 37])
def test_words_are_those_of_the_package(rng, bits, columns):
    from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32

    half = 1 << (bits - 1)
    values = rng.integers(-half, half, (5, columns)).astype(np.int32)
    words = pack(values, bits)
    theirs = pack_to_int32(torch.from_numpy(values.astype(np.int8)), bits).numpy()
    assert np.array_equal(words, theirs)
    assert np.array_equal(unpack(words, bits, columns), values)


def test_the_scale_is_found_that_gives_every_value_to_the_bit(rng):
    q = rng.integers(-8, 8, (50, 32))
    scale = rng.uniform(1e-3, 1e-1, (50, 1)).astype(np.float32)
    values = q.astype(np.float32) * scale
    found = to_integers(values, 4)
    assert not np.array_equal(found.floats(), values)  # what fits best is a last bit away
    scales, exact = stored(found, values, np.dtype(np.float32))
    assert exact
    assert np.array_equal(found.values.astype(np.float32) * scales, values)


@pytest.mark.parametrize("scheme", ["int4:g32", "int4:g16,asym", "int8"])
def test_integers_of_the_file_come_back_to_the_bit(tmp_path, llama, projections, scheme):
    file = compressed(llama, tmp_path / "small", projections, scheme)
    done = export_compressed_tensors(file, tmp_path / "out", llama)
    assert (done.exact, done.rounded, done.check.max_error) == (len(file), 0, 0)
    assert done.check.runtime.startswith("compressed-tensors 0.")
    ids = torch.arange(12)[None]
    original = transformers.LlamaForCausalLM.from_pretrained(llama)
    original.load_state_dict(dict(taut.load(tmp_path / "small", framework="torch")))
    with torch.no_grad():
        assert torch.allclose(loaded(tmp_path / "out")(ids).logits, original(ids).logits, atol=1e-6)


def test_what_was_on_no_grid_is_rounded_and_counted(tmp_path, llama, projections):
    file = compressed(llama, tmp_path / "small", projections, "lossless")
    with pytest.raises(ArgumentError, match=r"layers are lossless, which is no grid.*--weights"):
        export_compressed_tensors(file, tmp_path / "out", llama)
    done = export_compressed_tensors(
        file, tmp_path / "out", llama, Packing(weights="int4", group_size=32)
    )
    assert (done.exact, done.rounded) == (len(file) - len(projections), len(projections))
    assert 0.99 < done.check.cosine < 0.999  # four bits of normal values, and exact norms
    assert done.files[0].name == "config.json"


@pytest.mark.parametrize("kind", ["nvfp4", "mxfp4"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_four_bit_floats_keep_their_codes(tmp_path, llama, projections, kind, dtype):
    own = transformers.LlamaForCausalLM.from_pretrained(llama, dtype=getattr(torch, dtype))
    own.save_pretrained(tmp_path / "own")
    file = compressed(tmp_path / "own", tmp_path / "small", projections, kind)
    done = export_compressed_tensors(file, tmp_path / "out", tmp_path / "own")
    assert (done.rounded, done.check.max_error) == (0, 0)
    assert done.check.runtime.startswith("compressed-tensors 0.")  # which unpacked all of them
    assert quantization(tmp_path / "out")["format"] == f"{kind}-pack-quantized"
    floats = as_floats(open_source(tmp_path / "out"))
    for name in projections:
        assert np.array_equal(floats.load(name), file[name])


def test_any_file_is_rounded_to_four_bit_floats(tmp_path, llama, projections):
    file = compressed(llama, tmp_path / "small", projections, "lossless")
    done = export_compressed_tensors(file, tmp_path / "out", llama, Packing(weights="nvfp4"))
    assert done.rounded == len(projections)
    assert 0.99 < done.check.cosine < 0.9999
    with pytest.raises(ArgumentError, match="groups of 16"):
        packing = Packing(weights="nvfp4", group_size=32)
        export_compressed_tensors(file, tmp_path / "no", llama, packing)


def test_data_round_four_bit_floats_with_feedback(tmp_path, llama, projections):
    file = compressed(llama, tmp_path / "small", projections, "lossless")
    ids = torch.randint(0, 96, (24, 32), generator=torch.Generator().manual_seed(0))
    near, fed = Packing(weights="mxfp4"), Packing(weights="mxfp4", calib=[ids])
    export_compressed_tensors(file, tmp_path / "near", llama, near)
    done = export_compressed_tensors(file, tmp_path / "fed", llama, fed)
    assert any("feedback" in note for note in done.notes)
    original = transformers.LlamaForCausalLM.from_pretrained(llama).eval()
    with torch.no_grad():
        wanted = original(ids).logits
        lost = [
            float((loaded(tmp_path / name)(ids).logits - wanted).square().mean())
            for name in ("near", "fed")
        ]
    assert lost[1] < 0.9 * lost[0]
    with pytest.raises(ArgumentError, match="goes with weights nvfp4 and mxfp4"):
        packing = Packing(weights="int8", calib=[ids])
        export_compressed_tensors(file, tmp_path / "no", llama, packing)


def quantization(folder: Path) -> dict[str, object]:
    return json.loads((folder / "config.json").read_text())["quantization_config"]


def test_int8_by_rows_runs_with_int8_activations_unless_told(tmp_path, llama, projections):
    file = compressed(llama, tmp_path / "small", projections, "int8")
    done = export_compressed_tensors(file, tmp_path / "out", llama)
    config = quantization(tmp_path / "out")
    assert config["format"] == "int-quantized"
    assert config["config_groups"]["group_0"]["input_activations"]["strategy"] == "token"
    assert open_source(tmp_path / "out").load(projections[0]).dtype == np.int8
    assert any("activations are rounded to int8" in note for note in done.notes)
    done = export_compressed_tensors(file, tmp_path / "plain", llama, Packing(activations="none"))
    assert quantization(tmp_path / "plain")["format"] == "pack-quantized"
    assert any("on a GPU alone" in note for note in done.notes)
    with pytest.raises(ArgumentError, match="goes with weights int8"):
        export_compressed_tensors(
            file, tmp_path / "o", llama, Packing(weights="int4", activations="dynamic")
        )


def test_a_part_with_another_scheme_stays_as_it_was_evaluated(tmp_path, llama, projections):
    plan = dict.fromkeys(projections, "int8")
    other = next(name for name in projections if "v_proj" in name)
    file = TautFile(taut.compress(llama, tmp_path / "f", plan={**plan, other: "codebook16"}).path)
    done = export_compressed_tensors(file, tmp_path / "out", llama)
    assert (done.rounded, done.check.max_error) == (0, 0)
    left = [name.removesuffix(".weight") for name in projections if "self_attn" in name]
    assert set(left) < set(quantization(tmp_path / "out")["ignore"])
    done = export_compressed_tensors(file, tmp_path / "all", llama, Packing(weights="int8"))
    assert (done.rounded, quantization(tmp_path / "all")["ignore"]) == (1, ["lm_head"])
    assert any(f"1 tensor ({other}) is" in note for note in done.notes)
    feet = next(name for name in projections if "up_proj" in name)
    plan = {**plan, other: "codebook16", feet: "lossless"}
    file = TautFile(taut.compress(llama, tmp_path / "g", plan=plan).path)
    with pytest.raises(ArgumentError, match=r"some linear layer is not int8 as .*--weights"):
        export_compressed_tensors(file, tmp_path / "none", llama)


@pytest.mark.parametrize("scheme", ["int4:g32", "int8"])
def test_half_precision_scales_are_told_as_rounded(tmp_path, llama, projections, scheme):
    half = transformers.LlamaForCausalLM.from_pretrained(llama, dtype=torch.bfloat16)
    half.save_pretrained(tmp_path / "half")
    file = compressed(tmp_path / "half", tmp_path / "small", projections, scheme)
    done = export_compressed_tensors(file, tmp_path / "out", tmp_path / "half")
    assert done.rounded <= len(projections)
    assert done.check.rel_mse < 2.0**-15  # of a scale of eight bits
    assert any("with the integers of the Taut file, and scales rounded" in n for n in done.notes)
    scale = projections[0].replace("weight", "weight_scale")
    assert {i.name: i.dtype for i in open_source(tmp_path / "out").infos}[scale] == "BF16"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": "int4", "group_size": 48}, None),  # divides 96 alone: others are left
        ({"weights": "int4", "group_size": 40}, r"group size 40 divides .* none of 7 .*\(64, 96\)"),
        ({"weights": "int4"}, "group size 128 divides the columns of none"),
        ({"weights": "int3"}, "weights int3: compressed-tensors takes int8, int4"),
        ({"weights": "int8", "activations": "static"}, "takes none or dynamic"),
    ],
)
def test_a_group_has_to_divide_something(tmp_path, llama, projections, options, message):
    file = compressed(llama, tmp_path / "small", projections, "lossless")
    if message is None:
        done = export_compressed_tensors(file, tmp_path / "out", llama, Packing(**options))
        assert done.rounded == 1
        assert done.notes[0].startswith("1 linear layers are int4")
    else:
        with pytest.raises(ArgumentError, match=message):
            export_compressed_tensors(file, tmp_path / "out", llama, Packing(**options))
        assert not (tmp_path / "out").exists()


def test_what_loads_otherwise_is_no_export(tmp_path, llama, projections, monkeypatch):
    file = compressed(llama, tmp_path / "small", projections, "int8")
    monkeypatch.setattr(
        PackedGrid, "config", lambda self, ignored: {"quant_method": "compressed-tensors"}
    )
    with pytest.raises(VerifyError):
        export_compressed_tensors(file, tmp_path / "out", llama)
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


def test_a_network_without_linear_layers_says_so(tmp_path):
    config = transformers.GPT2Config(vocab_size=40, n_positions=16, n_embd=8, n_layer=1, n_head=2)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path / "gpt")
    taut.compress(tmp_path / "gpt", tmp_path / "small")
    with pytest.raises(ArgumentError, match="packs linear layers alone"):
        taut.export(tmp_path / "small", tmp_path / "out", to="compressed-tensors")
