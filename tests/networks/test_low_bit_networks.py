"""Low-bit checkpoints hold the floats that the libraries give which read them, and run as such."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import taut
from taut.io import open_source
from taut.io.quantized import as_floats
from taut.networks import open_model

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
save_file = pytest.importorskip("safetensors.torch").save_file


def floats(folder: Path, state: dict, settings: dict, dtype: str = "bfloat16") -> torch.Tensor:
    """The weight of the only layer in a checkpoint of this state."""
    folder.mkdir(exist_ok=True)
    save_file({name: one.contiguous() for name, one in state.items()}, folder / "model.safetensors")
    config = {"model_type": "llama", "dtype": dtype, "quantization_config": settings}
    (folder / "config.json").write_text(json.dumps(config))
    source = as_floats(open_source(folder))
    (info,) = source.infos
    return torch.from_numpy(source.load(info.name).astype(np.float32))


@pytest.mark.parametrize("power_of_two", [False, True])
def test_fp8_is_what_transformers_makes_of_it(tmp_path, power_of_two):
    from transformers.integrations.finegrained_fp8 import Fp8Dequantize

    torch.manual_seed(0)
    weight = torch.randn(64, 96).mul(60).to(torch.float8_e4m3fn)
    scales = torch.rand(2, 3).mul(0.01).add(0.001)
    if power_of_two:
        scales = scales.to(torch.float8_e8m0fnu)
    found = floats(
        tmp_path,
        {"l.weight": weight, "l.weight_scale_inv": scales},
        {"quant_method": "fp8", "weight_block_size": [32, 32]},
    )
    wanted = Fp8Dequantize(None)._dequantize_one(weight, scales, torch.bfloat16)
    assert torch.equal(found, wanted.float())


def test_mxfp4_is_what_transformers_makes_of_it(tmp_path):
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors

    torch.manual_seed(0)
    blocks = torch.randint(0, 256, (2, 6, 3, 16), dtype=torch.uint8)
    scales = torch.randint(110, 130, (2, 6, 3), dtype=torch.uint8)
    state = {"e.gate_up_proj_blocks": blocks, "e.gate_up_proj_scales": scales}
    found = floats(tmp_path, state, {"quant_method": "mxfp4"})
    assert torch.equal(found, convert_moe_packed_tensors(blocks, scales).float())


SCHEMES = {
    "pack-quantized": {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 32},
    "int-quantized": {"num_bits": 8, "type": "int", "strategy": "channel"},
    "float-quantized": {"num_bits": 8, "type": "float", "strategy": "channel"},
    "nvfp4-pack-quantized": {
        **{"num_bits": 4, "type": "float", "strategy": "tensor_group", "group_size": 16},
    },
    "mxfp4-pack-quantized": {
        **{"num_bits": 4, "type": "float", "strategy": "group", "group_size": 32},
    },
}


@pytest.mark.skipif(find_spec("compressed_tensors") is None, reason="not installed")
@pytest.mark.parametrize("format_", SCHEMES)
def test_compressed_tensors_gives_the_same(tmp_path, format_):
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme

    torch.manual_seed(0)
    weight = torch.randn(24, 64, dtype=torch.bfloat16) * 0.02
    args = QuantizationArgs(**SCHEMES[format_])
    scheme = QuantizationScheme(targets=["Linear"], weights=args)
    width = args.group_size or 64
    largest = weight.float().reshape(24, -1, width).abs().amax(2)
    top = {"pack": 7, "int-": 127, "floa": 448, "nvfp": 6, "mxfp": 6}[format_[:4]]
    scale, state = largest / top, {"weight": weight}
    if format_.startswith("nvfp4"):
        state["weight_global_scale"] = torch.tensor([448 * 6.0]) / largest.max()
        scale = scale * state["weight_global_scale"]
    if format_.startswith("mxfp4"):
        scale = 2.0 ** torch.floor(torch.log2(scale))
    state["weight_scale"] = scale.bfloat16()
    compressor = BaseCompressor.get_value_from_registry(format_)
    packed = compressor.compress(state, scheme)
    wanted = compressor.decompress(dict(packed), scheme)["weight"]
    settings = {
        "quant_method": "compressed-tensors",
        "format": format_,
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": SCHEMES[format_]}},
    }
    found = floats(tmp_path, {f"l.{name}": one for name, one in packed.items()}, settings)
    assert torch.equal(found, wanted.float())


@pytest.fixture
def folder(tmp_path) -> Path:
    """A small Llama whose projections are FP8 in blocks."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=64,
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        dtype="bfloat16",
    )
    module = transformers.LlamaForCausalLM(config).bfloat16()
    state = {}
    for name, one in module.state_dict().items():
        state[name] = one
        if "proj" in name:
            scales = torch.rand(2, 2).mul(0.01).add(0.001)
            spread = scales.repeat_interleave(32, 0).repeat_interleave(32, 1)
            state[name] = (one.float() / spread).clamp(-448, 448).to(torch.float8_e4m3fn)
            state[f"{name}_scale_inv"] = scales
    made = tmp_path / "fp8"
    made.mkdir()
    save_file(state, made / "model.safetensors", metadata={"format": "pt"})
    tree = config.to_dict() | {"architectures": ["LlamaForCausalLM"]}
    tree["quantization_config"] = {"quant_method": "fp8", "weight_block_size": [32, 32]}
    (made / "config.json").write_text(json.dumps(tree))
    return made


def test_the_network_runs_on_the_floats(folder):
    loaded = open_model(folder)
    source = as_floats(open_source(folder))
    assert not loaded.missing
    assert not loaded.unmapped
    assert loaded.source == folder
    weight = loaded.module.get_parameter("model.layers.0.mlp.up_proj.weight")
    values = source.load("model.layers.0.mlp.up_proj.weight").astype(np.float32)
    assert np.array_equal(weight.detach().float().numpy(), values)


def test_a_bit_exact_file_loads_into_the_network_as_floats(folder, tmp_path):
    taut.compress(folder, tmp_path / "small")
    module = open_model(folder, widened=False).module
    wanted = {name: one.clone() for name, one in module.state_dict().items()}
    for parameter in module.parameters():
        torch.nn.init.zeros_(parameter)
    taut.load(tmp_path / "small", into=module)
    assert all(torch.equal(one, wanted[name]) for name, one in module.state_dict().items())


def test_transformers_loads_a_bit_exact_folder_as_floats(folder, tmp_path):
    import taut.hf

    taut.compress(folder, tmp_path / "small")
    found = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "small")
    wanted = open_model(folder, widened=False).module.state_dict()
    assert all(torch.equal(one, wanted[name]) for name, one in found.state_dict().items())
    found.save_pretrained(tmp_path / "plain")
    assert "low_bit" not in (tmp_path / "plain" / "config.json").read_text()
    taut.decompress(tmp_path / "small", tmp_path / "back")
    for path in folder.iterdir():
        assert (tmp_path / "back" / path.name).read_bytes() == path.read_bytes()
    taut.export(tmp_path / "small", tmp_path / "out", to="hf")
    settings = json.loads((tmp_path / "out" / "config.json").read_text())["quantization_config"]
    assert settings["quant_method"] == "fp8"  # the weights there are FP8, as the original's


def test_evaluation_holds_files_against_the_low_bit_original(folder, tmp_path):
    ids = torch.randint(0, 64, (4, 12), generator=torch.Generator().manual_seed(0))
    taut.compress(folder, tmp_path / "exact")
    taut.compress(folder, tmp_path / "lossy", bits=4, effort="fast")
    exact = taut.evaluate(tmp_path / "exact", original=folder, calib=[ids])
    lossy = taut.evaluate(tmp_path / "lossy", original=folder, calib=[ids])
    assert exact.fidelity.cosine == pytest.approx(1, abs=1e-6)
    assert 0.5 < lossy.fidelity.cosine < 1
    page = taut.report(tmp_path / "lossy", tmp_path / "page.html", original=folder)
    assert page.is_file()


def test_calibrated_work_takes_the_floats(folder, tmp_path):
    ids = np.random.default_rng(0).integers(0, 64, (16, 24))
    infos = as_floats(open_source(folder)).infos
    plan = {info.name: "nvfp4" if "proj" in info.name else "lossless" for info in infos}
    names = [name for name, scheme in plan.items() if scheme == "nvfp4"]
    taut.compress(folder, tmp_path / "small", calib=[ids[:8], ids[8:]], plan=plan)
    file = taut.load(tmp_path / "small")
    assert all(file[name].dtype.itemsize == 2 for name in names)
    module = transformers.LlamaForCausalLM.from_pretrained
    taut.decompress(tmp_path / "small", tmp_path / "plain")
    assert module(tmp_path / "plain").get_parameter(names[0]).dtype == torch.bfloat16
