"""Folders with several models, as diffusers and ComfyUI keep them: one source, and back again."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import taut
from taut.errors import ArgumentError, FormatError, VerifyError
from taut.io import open_source
from taut.io.tree import TreeSource


def tensors(seed: int, *names: str, rows: int = 64) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=(rows, 128)).astype(np.float32) for name in names}


def write(folder: Path, **files: object) -> None:
    """Weights from dicts, JSON from lists of pairs, and bytes as they are."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, dict):
            save_file(content, path)
        else:
            assert isinstance(content, bytes)
            path.write_bytes(content)


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    """A text encoder, a network in two shards, and two forms of a decoder."""
    folder = tmp_path / "pipe"
    index = {
        "metadata": {"total_size": 1},
        "weight_map": {"a": "net-1.safetensors", "b": "net-2.safetensors"},
    }
    write(
        folder,
        **{
            "model_index.json": b'{"_class_name": "StableDiffusionPipeline"}',
            "README.md": b"---\nlicense: mit\n---\n",
            "text_encoder/config.json": b'{"model_type": "clip_text_model"}',
            "text_encoder/model.safetensors": tensors(0, "text.weight", "same"),
            "unet/config.json": b"{}",
            "unet/net.safetensors.index.json": json.dumps(index).encode(),
            "unet/net-1.safetensors": tensors(1, "a"),
            "unet/net-2.safetensors": tensors(2, "b"),
            "vae/diffusion_pytorch_model.safetensors": tensors(3, "same", "w"),
            "vae/diffusion_pytorch_model.fp16.safetensors": {
                name: value.astype(np.float16) for name, value in tensors(3, "same", "w").items()
            },
            "tokenizer/vocab.json": b'{"a": 0}',
            "scheduler/scheduler_config.json": b"{}",
        },
    )
    return folder


NAMES = [
    *("text_encoder/same", "text_encoder/text.weight", "unet/a", "unet/b"),
    *("vae/diffusion_pytorch_model.fp16/same", "vae/diffusion_pytorch_model.fp16/w"),
    *("vae/diffusion_pytorch_model/same", "vae/diffusion_pytorch_model/w"),
]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_pipeline_comes_back_to_the_byte(pipeline: Path, tmp_path: Path) -> None:
    source = open_source(pipeline)
    assert isinstance(source, TreeSource)
    assert sorted(info.name for info in source.infos) == NAMES
    made = taut.compress(pipeline, tmp_path / "small")
    assert made.path == tmp_path / "small/model.taut.tree.json"
    assert made.original_size == source.nbytes
    assert made.ratio > 1
    assert not made.notes
    back = taut.decompress(tmp_path / "small", tmp_path / "back")
    assert contents(tmp_path / "back") == contents(pipeline)
    assert back.bytes == sum(map(len, contents(pipeline).values()))
    assert {p.relative_to(tmp_path / "back").as_posix() for p in back.files} == {
        *contents(pipeline)
    }


def test_the_whole_and_its_parts_are_read(pipeline: Path, tmp_path: Path) -> None:
    taut.compress(pipeline, tmp_path / "small")
    file = taut.load(tmp_path / "small")
    assert sorted(file) == NAMES
    wanted = tensors(3, "same", "w")
    assert np.array_equal(file["vae/diffusion_pytorch_model/w"], wanted["w"])
    every = file.load_all()
    assert list(every) == list(file)
    assert np.array_equal(every["unet/b"], tensors(2, "b")["b"])
    out = np.empty((64, 128), np.float32)
    file.read_into("unet/a", out)
    assert np.array_equal(out, tensors(1, "a")["a"])
    assert np.array_equal(np.concatenate([*file.pieces("unet/a", 1000)]), out.reshape(-1))
    with pytest.raises(ArgumentError, match='no tensor "unet/c"; nearest'):
        file["unet/c"]
    assert sorted(taut.load(tmp_path / "small/unet")) == ["a", "b"]
    assert sorted(taut.load(tmp_path / "small/text_encoder")) == ["same", "text.weight"]
    checked = taut.verify(tmp_path / "small")
    assert checked.tensors == 8
    about = taut.info(tmp_path / "small")
    every_file = contents(tmp_path / "small")
    own = sum(len(data) for name, data in every_file.items() if ".taut." in name)
    assert about.size == checked.size == own
    assert {t.name: t.bytes > 0 for t in about.tensors} == dict.fromkeys(NAMES, True)


def test_configs_of_parts_say_that_they_are_ours(pipeline: Path, tmp_path: Path) -> None:
    taut.compress(pipeline, tmp_path / "small")
    config = json.loads((tmp_path / "small/text_encoder/config.json").read_text())
    assert config["quantization_config"] == {"quant_method": "taut"}
    assert (tmp_path / "small/unet/config.json").read_bytes() == b"{}"


def test_one_size_for_all(pipeline: Path, tmp_path: Path) -> None:
    wanted = open_source(pipeline).nbytes // 6
    made = taut.compress(pipeline, tmp_path / "small", size="6x", effort="fast")
    assert 0.9 * wanted < made.size <= wanted
    errors = [tensor.rel_mse for tensor in made.tensors]
    assert max(errors) < 2 * min(errors)
    plain = taut.decompress(tmp_path / "small", tmp_path / "back")
    assert {p.relative_to(tmp_path / "back").as_posix() for p in plain.files} == {
        *contents(pipeline)
    }
    found = load_file(tmp_path / "back/unet/net-1.safetensors")["a"]
    assert np.array_equal(found, taut.load(tmp_path / "small")["unet/a"])
    assert 0 < np.square(found - tensors(1, "a")["a"]).mean() < 0.2


def test_a_plan_and_a_dry_run(pipeline: Path, tmp_path: Path) -> None:
    plan = {name: "int8" for name in NAMES if name.startswith("vae/")}
    made = taut.compress(pipeline, tmp_path / "small", plan=plan)
    exact = {tensor.name for tensor in made.tensors if not tensor.rel_mse}
    assert exact == {name for name in NAMES if not name.startswith("vae/")}
    told = taut.compress(pipeline, dry_run=True, bits=4)
    assert told.size < made.size
    report = taut.analyze(pipeline)
    assert sorted(facts.name for facts in report.tensors) == NAMES


def test_shards_of_any_size(pipeline: Path, tmp_path: Path) -> None:
    taut.compress(pipeline, tmp_path / "small", shard_size=40_000)
    names = {name for name in contents(tmp_path / "small") if ".taut." in name}
    assert "text_encoder/model.taut.safetensors.index.json" in names
    assert "text_encoder/model-00002-of-00002.taut.safetensors" in names
    assert "vae/diffusion_pytorch_model.fp16-00001-of-00001.taut.safetensors" in names
    assert taut.verify(tmp_path / "small").tensors == 8
    taut.decompress(tmp_path / "small", tmp_path / "back")
    assert contents(tmp_path / "back") == contents(pipeline)


def test_comfyui_keeps_what_only_it_has(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    write(
        folder,
        **{
            "checkpoints/a.safetensors": tensors(0, "w"),
            "checkpoints/b.safetensors": tensors(1, "w"),
            "loras/style/x.safetensors": tensors(2, "w", rows=8),
            "upscale_models/4x.pth": b"\x80\x02.",
            "unet/flux-Q4.gguf": b"GGUF\3\0\0\0",
            "clip/pytorch_model.bin": b"PK\3\4",
            "clip/t5.safetensors": tensors(3, "w"),
            "vae/put_vae_here": b"",
        },
    )
    made = taut.compress(folder, tmp_path / "small")
    assert not made.notes
    assert [t.name for t in made.tensors] == [
        *("checkpoints/a/w", "checkpoints/b/w", "clip/w", "loras/style/w"),
    ]
    taut.decompress(tmp_path / "small", tmp_path / "back")
    assert contents(tmp_path / "back") == contents(folder)


def test_the_same_weights_for_others_stay_behind(pipeline: Path, tmp_path: Path) -> None:
    write(pipeline, **{"text_encoder/pytorch_model.bin": b"x", "vae/model.onnx": b"y"})
    (note,) = taut.compress(pipeline, tmp_path / "small").notes
    assert "text_encoder/pytorch_model.bin" in note
    assert (tmp_path / "small/vae/model.onnx").read_bytes() == b"y"


def test_a_pipeline_with_weights_on_top(pipeline: Path, tmp_path: Path) -> None:
    write(pipeline, **{"sd.safetensors": tensors(9, "w")})
    assert "sd/w" in [info.name for info in open_source(pipeline).infos]
    taut.compress(pipeline, tmp_path / "small")
    taut.decompress(tmp_path / "small", tmp_path / "back")
    assert contents(tmp_path / "back") == contents(pipeline)


def test_what_cannot_be(pipeline: Path, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="become a folder"):
        taut.compress(pipeline, tmp_path / "one.taut.safetensors")
    with pytest.raises(ArgumentError, match=r"holds 4 models.*give the folder of one"):
        taut.compress(pipeline, tmp_path / "small", bits=3, calib=[np.zeros(2)])
    taut.compress(pipeline, tmp_path / "small")
    with pytest.raises(ArgumentError, match="is a Taut folder already"):
        taut.compress(tmp_path / "small", tmp_path / "again")
    with pytest.raises(ArgumentError, match="exists"):
        taut.compress(pipeline, tmp_path / "small")
    taut.compress(pipeline, tmp_path / "small", force=True)
    with pytest.raises(ArgumentError, match="name a folder"):
        taut.decompress(tmp_path / "small", tmp_path / "one.safetensors")
    bad = pipeline / "vae/broken.safetensors"
    bad.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(FormatError, match=r"vae/broken\.safetensors"):
        taut.compress(pipeline, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_parts_of_another_run_and_missing_ones_are_told(pipeline: Path, tmp_path: Path) -> None:
    taut.compress(pipeline, tmp_path / "small")
    taut.compress(pipeline, tmp_path / "other", bits=4, effort="fast")
    place = "text_encoder/model.taut.safetensors"
    (tmp_path / "small" / place).write_bytes((tmp_path / "other" / place).read_bytes())
    with pytest.raises(FormatError, match="not the one that the table was written"):
        taut.info(tmp_path / "small")
    (tmp_path / "small" / place).unlink()
    with pytest.raises(ArgumentError, match=f'"{place}" is missing, the tensors under text_'):
        taut.verify(tmp_path / "small")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"unet/net.taut', '"../net.taut', "must be the path"),
        ('"unet/net.taut', '"/net.taut', "must be the path"),
        ('"prefix": "unet/"', '"prefix": "unet"', "must be a prefix"),
        ('"prefix": "unet/"', '"prefix": "text_encoder/"', "prefix comes twice"),
        ('"bytes"', '"size"', "bytes"),
        ('"parts"', '"part"', "parts"),
    ],
)
def test_hostile_tables_are_refused(
    pipeline: Path, tmp_path: Path, old: str, new: str, told: str
) -> None:
    from taut.container.format import xxh3

    taut.compress(pipeline, tmp_path / "small")
    table = tmp_path / "small/model.taut.tree.json"
    text = table.read_text().replace(old, new)
    at = text.index('"checksum":"') + 12
    zero = text[:at] + "0" * 16 + text[at + 16 :]
    table.write_text(text)
    with pytest.raises(VerifyError):
        taut.info(tmp_path / "small")
    table.write_text(text[:at] + xxh3(zero.encode()) + text[at + 16 :])
    with pytest.raises(FormatError, match=told):
        taut.info(tmp_path / "small")
