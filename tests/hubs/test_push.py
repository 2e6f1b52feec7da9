"""Taut files put on the hub: in one commit or not at all, with a card."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

import taut
from taut.errors import ArgumentError, VerifyError

from .server import Hub

safetensors = pytest.importorskip("safetensors.numpy")

CARD = b"""---
license: other
license_name: theirs
base_model:
- org/base
library_name: transformers
tags: [text-generation, small]
language: en
model-index: [{name: x}]
---
# Theirs
What it does.
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A lossy Taut folder with a card of the original."""
    source = tmp_path / "source"
    source.mkdir()
    values = np.random.default_rng(0).normal(size=(96, 256)).astype(np.float32)
    safetensors.save_file({"w": values, "b": values[0]}, source / "model.safetensors")
    (source / "README.md").write_bytes(CARD)
    (source / "config.json").write_bytes(b'{"model_type": "bert"}')
    taut.compress(source, tmp_path / "small", bits=4)
    return tmp_path / "small"


@pytest.fixture
def writer(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The hub, with a token that may write."""
    monkeypatch.setenv("HF_TOKEN", "hf_writer")
    return hub


def front(card: bytes) -> dict[str, object]:
    found = yaml.safe_load(card.decode().split("---\n")[1])
    assert isinstance(found, dict)
    return found


def test_a_folder_is_pushed_and_comes_back(writer: Hub, folder: Path, tmp_path: Path) -> None:
    repo = writer.add("org/small", {".gitattributes": b"x"})
    found = taut.push(folder, "hf://org/small")
    assert len(repo.commits) == 2
    assert set(repo.files) == {*found.files, ".gitattributes"}
    assert set(found.files) == {"README.md", "config.json", "model.taut.safetensors"}
    assert found.commit == f"{writer.url}/org/small/commit/{repo.refs['main']}"
    assert repo.files["model.taut.safetensors"] == (folder / "model.taut.safetensors").read_bytes()
    taut.decompress("hf://org/small", tmp_path / "back")
    assert (tmp_path / "back/README.md").read_bytes() == CARD
    assert (tmp_path / "back/config.json").read_bytes() == b'{"model_type": "bert"}'
    source = safetensors.load_file(tmp_path / "back/model.safetensors")
    assert np.array_equal(source["w"], taut.load(folder)["w"])


def test_the_card_keeps_what_holds_of_the_original(writer: Hub, folder: Path) -> None:
    repo = writer.add("org/small", {})
    found = taut.push(folder, "hf://org/small", command="taut compress it --bits 4")
    card = repo.files["README.md"]
    assert card.decode() == found.card
    tree = front(card)
    assert tree["license"] == "other"
    assert tree["license_name"] == "theirs"
    assert tree["base_model"] == ["org/base"]
    assert tree["base_model_relation"] == "quantized"
    assert tree["library_name"] == "taut"
    assert tree["tags"] == ["text-generation", "small", "taut", "compressed"]
    assert tree["language"] == "en"
    assert "model-index" not in tree
    about = taut.info(folder)
    assert f"| ratio | {about.ratio:.2f}x |" in found.card
    assert "| rd | 1 |" in found.card
    assert f"{max(t.rel_mse for t in about.tensors):.3g}"[:4] in found.card
    assert 'taut.load("hf://org/small")' in found.card
    assert 'AutoModel.from_pretrained("org/small")' in found.card
    assert "taut compress it --bits 4" in found.card


def test_what_is_given_goes_before_the_card(writer: Hub, folder: Path) -> None:
    found = taut.push(folder, "hf://org/small", base_model="me/large", license="mit", dry_run=True)
    tree = front(found.card.encode())
    assert (tree["base_model"], tree["license"]) == ("me/large", "mit")
    assert "license_name" not in tree
    assert "[me/large](https://huggingface.co/me/large)" in found.card
    assert writer.asked == []


def test_a_file_alone_and_a_lossless_one(writer: Hub, tmp_path: Path) -> None:
    path = tmp_path / "zeros.taut.safetensors"
    taut.compress({"w": np.zeros((64, 64), np.float32)}, path)
    repo = writer.add("org/zeros", {})
    found = taut.push(path, "hf://org/zeros")
    assert set(repo.files) == {"README.md", "zeros.taut.safetensors"}
    assert front(found.card.encode()) == {
        "library_name": "taut",
        "tags": ["taut", "compressed", "lossless"],
    }
    assert np.array_equal(taut.load("hf://org/zeros")["w"], np.zeros((64, 64)))
    command = "taut decompress hf://org/zeros/zeros.taut.safetensors -o zeros.safetensors"
    assert command in found.card
    url, out = command.split()[2], tmp_path / "back.safetensors"
    assert taut.decompress(url, out).files == (out,)


def test_scores_of_an_evaluation_stand_in_the_card(
    writer: Hub, folder: Path, tmp_path: Path
) -> None:
    judged = {
        "model": {
            "name": "small",
            "size": 1,
            **dict.fromkeys(("decode_seconds", "energy", "load_seconds", "memory", "speed")),
            "parameters": 1,
            "scores": {"metrics": [{"name": "accuracy", "value": 0.9125}]},
        },
        "original": None,
        "paired": [],
        "fidelity": None,
        "notes": [],
    }
    path = tmp_path / "eval.json"
    path.write_text(json.dumps(judged))
    found = taut.push(folder, "hf://org/small", evaluation=path, dry_run=True)
    assert "| accuracy |" in found.card


def test_a_repository_is_made_when_asked(writer: Hub, folder: Path) -> None:
    with pytest.raises(ArgumentError, match=r"^hf://org/new: no such repository.*--create"):
        taut.push(folder, "hf://org/new")
    assert ("model", "org/new") not in writer.repos
    taut.push(folder, "hf://org/new", create=True, private=True)
    assert writer.repos["model", "org/new"].token == "hf_writer"
    with pytest.raises(ArgumentError, match="is there already"):
        taut.push(folder, "hf://org/new", create=True, private=True, force=True)


def test_a_model_that_is_there_is_replaced_when_asked(writer: Hub, folder: Path) -> None:
    files = {"a.taut.safetensors": b"old", "model.taut.safetensors": b"old", "README.md": b"mine"}
    repo = writer.add("org/small", files)
    with pytest.raises(ArgumentError, match=r"has a Taut model already \(a\.taut"):
        taut.push(folder, "hf://org/small")
    assert repo.files == files
    found = taut.push(folder, "hf://org/small", force=True)
    assert found.removed == ("a.taut.safetensors",)
    assert len(repo.commits) == 2
    assert taut.verify("hf://org/small").tensors == 2


def test_a_branch(writer: Hub, folder: Path) -> None:
    repo = writer.add("org/small", {"x": b"x"})
    with pytest.raises(ArgumentError, match='no revision "v2"'):
        taut.push(folder, "hf://org/small@v2")
    repo.refs["v2"] = repo.refs["main"]
    taut.push(folder, "hf://org/small@v2")
    assert set(repo.files) == {"x"}
    assert "model.taut.safetensors" in repo.commits[repo.refs["v2"]]
    assert 'taut.load("hf://org/small@v2")' in repo.commits[repo.refs["v2"]]["README.md"].decode()


@pytest.mark.parametrize(
    ("where", "status", "told"),
    [
        ("/preupload/", 403, "refuses it"),
        ("/objects/batch", 500, "trouble"),
        ("PUT /objects/", 403, "."),
        ("/commit/", 401, "token"),
        ("/commit/", 500, "trouble"),
        ("/commit/", 429, "too many"),
    ],
)
def test_what_fails_leaves_nothing(
    writer: Hub, folder: Path, where: str, status: int, told: str
) -> None:
    repo = writer.add("org/small", {"x": b"x"})
    writer.fails[where] += 60 * [status]
    with pytest.raises(ArgumentError, match=rf"^hf://org/small: .*{told}"):
        taut.push(folder, "hf://org/small")
    assert repo.files == {"x": b"x"}
    assert len(repo.commits) == 1


def test_files_that_the_hub_leaves_out_are_told(writer: Hub, folder: Path) -> None:
    writer.add("org/small", {".gitignore": b"*.safetensors"})
    writer.ignored.add("model.taut.safetensors")
    with pytest.raises(ArgumentError, match=r"left out model\.taut\.safetensors: a \.gitignore"):
        taut.push(folder, "hf://org/small")


def test_who_may_not(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repo = hub.add("org/small", {})
    with pytest.raises(ArgumentError, match="takes a token: HF_TOKEN"):
        taut.push(folder, "hf://org/small")
    monkeypatch.setenv("HF_TOKEN", "hf_reader")
    with pytest.raises(ArgumentError, match=r"refuses it \(403\)"):
        taut.push(folder, "hf://org/small")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ArgumentError, match="HF_HUB_OFFLINE"):
        taut.push(folder, "hf://org/small")
    assert repo.files == {}


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("s3://bucket/x", "writes to the Hugging Face hub"),
        ("hf://datasets/org/x", "writes to the Hugging Face hub"),
        ("hf://small", "give hf://ORG/NAME"),
        ("hf://org/small/x", "leave out /x"),
    ],
)
def test_where_it_cannot_go(writer: Hub, folder: Path, url: str, told: str) -> None:
    with pytest.raises(ArgumentError, match=told):
        taut.push(folder, url)


def test_a_damaged_file_stays_here(writer: Hub, folder: Path) -> None:
    repo = writer.add("org/small", {})
    data = bytearray((folder / "model.taut.safetensors").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "model.taut.safetensors").write_bytes(data)
    with pytest.raises(VerifyError):
        taut.push(folder, "hf://org/small")
    assert repo.files == {}


def test_outputs_on_the_hub_are_one_commit(writer: Hub, folder: Path, tmp_path: Path) -> None:
    repo = writer.add("org/out", {"x": b"x"})
    made = taut.compress(tmp_path / "source", "hf://org/out")
    assert str(made.path) == "hf://org/out/model.taut.safetensors"
    assert len(repo.commits) == 2
    assert set(repo.files) == {"x", "README.md", "config.json", "model.taut.safetensors"}
    with pytest.raises(ArgumentError, match="exists"):
        taut.compress(tmp_path / "source", "hf://org/out")
    taut.decompress(folder, "hf://org/out/plain")
    assert "plain/model.safetensors" in repo.files
    with pytest.raises(ArgumentError, match="no such repository"):
        taut.compress(tmp_path / "source", "hf://org/none")


def test_the_command(writer: Hub, folder: Path, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from taut.cli.app import app

    repo = writer.add("org/small", {})
    shown = CliRunner().invoke(app, ["push", str(folder), "hf://org/small", "--dry-run"])
    assert shown.stdout.startswith("---\nlicense: other")
    assert repo.files == {}
    found = CliRunner().invoke(app, ["push", str(folder), "hf://org/small", "--json"])
    assert found.exit_code == 0, found.stderr
    assert json.loads(found.stdout)["commit"].endswith(repo.refs["main"])
    assert "pushed     hf://org/small" in found.stderr
    again = CliRunner().invoke(app, ["push", str(folder), "hf://org/small"])
    assert again.exit_code == 2
    listed = CliRunner().invoke(app, ["info", "hf://org/small", "--json"])
    assert json.loads(listed.stdout)["path"] == "hf://org/small/model.taut.safetensors"


def test_a_pipeline_is_pushed_and_comes_back(writer: Hub, tmp_path: Path) -> None:
    source = tmp_path / "pipe"
    values = np.random.default_rng(0).normal(size=(64, 128)).astype(np.float32)
    files = {
        "model_index.json": b"{}",
        "unet/diffusion_pytorch_model.safetensors": safetensors.save({"w": values}),
        "vae/diffusion_pytorch_model.safetensors": safetensors.save({"w": -values}),
        "extra/model.gguf": b"GGUF",
        "README.md": CARD,
    }
    for name, data in files.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(data)
    writer.add("org/pipe", files)
    taut.compress("hf://org/pipe", tmp_path / "from-hub")
    taut.compress(source, tmp_path / "small")
    repo = writer.add("org/small", {})
    taut.push(tmp_path / "small", "hf://org/small")
    assert np.array_equal(taut.load("hf://org/small")["unet/w"], values)
    assert np.array_equal(taut.load("hf://org/small/vae")["w"], -values)
    taut.decompress("hf://org/small", tmp_path / "back")
    for name, data in files.items():
        assert (tmp_path / "back" / name).read_bytes() == data
    assert "model.taut.tree.json" in repo.files


def test_a_delta_is_checked_with_its_base_and_the_card_asks_for_it(
    writer: Hub, tmp_path: Path
) -> None:
    base = np.random.default_rng(1).normal(size=(64, 64)).astype(np.float32)
    tuned = base.copy()
    tuned[3] += 1e-3
    taut.compress({"w": tuned}, tmp_path / "d.taut.safetensors", base={"w": base})
    with pytest.raises(ArgumentError, match="give it as base"):
        taut.push(tmp_path / "d.taut.safetensors", "hf://me/delta", create=True)
    assert "me/delta" not in {name for _, name in writer.repos}
    found = taut.push(
        tmp_path / "d.taut.safetensors", "hf://me/delta", create=True, base={"w": base}
    )
    assert 'taut.load("hf://me/delta", base="BASE")' in found.card
    assert "--base BASE" in found.card
    back = taut.load("hf://me/delta", base={"w": base})
    assert np.array_equal(back["w"], tuned)
