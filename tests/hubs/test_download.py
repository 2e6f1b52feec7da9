"""Models on the Hugging Face hub as sources: fetched whole and checked, resumed, told clearly."""

from pathlib import Path

import numpy as np
import pytest

import taut
from taut.errors import ArgumentError, VerifyError
from taut.io.hub_choice import below, of_use
from taut.io.staged import staged

from .server import Hub

safetensors = pytest.importorskip("safetensors.numpy")


def weights(rows: int = 256) -> bytes:
    """A model of one matrix, `rows` KiB."""
    values = np.random.default_rng(0).normal(size=(rows, 256)).astype(np.float32)
    data: bytes = safetensors.save({"w": values})
    return data


def test_a_repository_is_a_source_like_a_folder(hub: Hub, tmp_path: Path) -> None:
    files = {"config.json": b"{}", "model.safetensors": weights(), "tf_model.h5": b"the same"}
    hub.add("org/net", files)
    made = taut.compress("hf://org/net", tmp_path / "net")
    assert made.notes == ("left on the hub: tf_model.h5 (weights in another form)",)
    assert not hub.ranges("tf_model.h5")
    back = taut.decompress(tmp_path / "net", tmp_path / "back")
    assert (tmp_path / "back/model.safetensors").read_bytes() == files["model.safetensors"]
    assert sorted(path.name for path in back.files) == ["config.json", "model.safetensors"]
    hub.add("org/small", {p.name: p.read_bytes() for p in (tmp_path / "net").iterdir()})
    assert taut.verify("hf://org/small").tensors == 1
    again = taut.decompress("hf://org/small", tmp_path / "again")
    assert str(again.path) == str(tmp_path / "again")
    assert (tmp_path / "again/model.safetensors").read_bytes() == files["model.safetensors"]


def test_what_was_fetched_is_not_fetched_again(hub: Hub) -> None:
    hub.add("org/net", {"model.safetensors": weights()})
    for _ in range(2):
        taut.analyze("hf://org/net")
    assert hub.ranges("model.safetensors") == [None]


def test_a_look_takes_ranges(hub: Hub, tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(8, 1024, 256)).astype(np.float32)
    source = {f"w{i}": one for i, one in enumerate(values)}
    taut.compress(source, tmp_path / "net.taut.safetensors")
    data = (tmp_path / "net.taut.safetensors").read_bytes()
    hub.add("org/net", {"net.taut.safetensors": data, "original.safetensors": bytes(100)})
    url = "hf://org/net"
    assert taut.info(url).size == len(data)
    assert np.array_equal(taut.load(url)["w3"], source["w3"])
    ranges = hub.ranges("net.taut.safetensors")
    assert len(ranges) >= 3
    assert None not in ranges
    assert not hub.ranges("original.safetensors")


@pytest.mark.parametrize("cut", [1, 5000, 100_000])
def test_a_connection_that_breaks_is_made_again(hub: Hub, cut: int, tmp_path: Path) -> None:
    data = weights()
    hub.add("org/net", {"model.safetensors": data})
    hub.cuts += [cut, cut]
    with staged("hf://org/net/model.safetensors") as path:
        assert path.read_bytes() == data
    assert hub.ranges("model.safetensors") == [None, f"bytes={cut}-", f"bytes={2 * cut}-"]


def test_a_later_run_goes_on_where_one_broke_off(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data = weights()
    hub.add("org/net", {"model.safetensors": data})
    hub.cuts += [70_000] + 40 * [0]
    with pytest.raises(ArgumentError, match=r"^hf://org/net: .*what was fetched is kept"):
        taut.compress("hf://org/net", tmp_path / "net")
    assert not (tmp_path / "net").exists()
    hub.cuts.clear()
    hub.asked.clear()
    taut.compress("hf://org/net", tmp_path / "net")
    assert hub.ranges("model.safetensors") == ["bytes=70000-"]


def test_a_wrong_checksum_is_told_and_nothing_is_kept(hub: Hub, tmp_path: Path) -> None:
    hub.add("org/net", {"model.safetensors": weights()})
    hub.damaged.add("model.safetensors")
    told = r"^hf://org/net: model\.safetensors came damaged: its SHA-256 is"
    with pytest.raises(VerifyError, match=told):
        taut.compress("hf://org/net", tmp_path / "net")
    assert not (tmp_path / "net").exists()
    kept = [path for path in (tmp_path / "hub-cache").rglob("*") if path.stat().st_size > 5000]
    assert not [path for path in kept if path.is_file()]
    hub.damaged.clear()
    assert taut.compress("hf://org/net", tmp_path / "net").ratio > 1


def test_a_small_file_is_checked_too(hub: Hub, tmp_path: Path) -> None:
    hub.add("org/net", {"model.safetensors": weights(), "config.json": b"{}"})
    hub.damaged.add("config.json")
    with pytest.raises(VerifyError, match=r"config\.json came damaged: its SHA-1 of git is"):
        taut.compress("hf://org/net", tmp_path / "net")


def test_what_is_damaged_in_the_cache_is_fetched_again(hub: Hub) -> None:
    data = weights()
    hub.add("org/net", {"model.safetensors": data})
    with staged("hf://org/net") as folder:
        blob = (folder / "model.safetensors").resolve()
    blob.chmod(0o644)
    blob.write_bytes(bytes(len(data)))
    with staged("hf://org/net") as folder:
        assert (folder / "model.safetensors").read_bytes() == data


def test_revisions_folders_and_files(hub: Hub) -> None:
    old, new = weights(8), weights(16)
    repo = hub.add("org/net", {"model.safetensors": old})
    first = repo.refs["main"]
    repo.commit({"model.safetensors": new, "unet/a.safetensors": old, "vae/b": b"b"})
    repo.refs |= {"v1": first, "refs/pr/3": first}
    for revision in ("v1", first, "refs/pr/3"):
        with staged(f"hf://org/net@{revision}") as folder:
            assert (folder / "model.safetensors").read_bytes() == old
    with staged("hf://org/net@main/unet") as folder:
        assert sorted(path.name for path in folder.iterdir()) == ["a.safetensors"]
    with staged("hf://org/net/model.safetensors") as path:
        assert path.read_bytes() == new
    hub.add("gpt2", {"model.safetensors": old})
    with staged("hf://gpt2") as folder:
        assert (folder / "model.safetensors").is_file()


def test_an_index_brings_its_shards(hub: Hub, tmp_path: Path) -> None:
    index = b'{"metadata": {}, "weight_map": {"w": "a.safetensors"}}'
    name = "model.safetensors.index.json"
    hub.add("org/net", {name: index, "a.safetensors": weights(8), "c.safetensors": weights(8)})
    assert taut.analyze(f"hf://org/net/{name}").parameters == 8 * 256
    assert not hub.ranges("c.safetensors")


def test_which_files_are_chosen() -> None:
    split = [f"q4-0000{n}-of-00002.gguf" for n in (1, 2)]
    assert below([*split, "q8.gguf"], split[0]) == split
    assert of_use([*split, "config.json"], "hf://o/n") == (sorted([*split, "config.json"]), [])
    with pytest.raises(ArgumentError, match=r"3 files of weights.*name one: hf://o/n/q4-00001"):
        of_use([*split, "q8.gguf"], "hf://o/n")
    bins = ["pytorch_model.bin", "flax_model.msgpack", "a: b.txt"]
    assert of_use(bins, "hf://o/n") == (["a: b.txt", "pytorch_model.bin"], ["flax_model.msgpack"])
    twins = ["vae/model.safetensors", "vae/pytorch_model.bin", "unet/pytorch_model.bin"]
    assert of_use(twins, "hf://o/n")[1] == ["vae/pytorch_model.bin"]
    ours = ["model.taut.safetensors", "extra.gguf", "tf_model.h5"]
    assert of_use(ours, "hf://o/n") == (sorted(ours), [])


def refused(url: str) -> str:
    with pytest.raises(ArgumentError) as caught:
        taut.analyze(url)
    assert str(caught.value).startswith(url)
    return str(caught.value)


def test_what_the_hub_refuses(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"model.safetensors": weights(8)}
    hub.add("org/net", files)
    hub.add("org/secret", files, token="hf_reader")
    hub.add("org/gated", files, token="hf_reader", gated=True)
    assert "no such repository, or a private one" in refused("hf://org/none")
    assert "HF_TOKEN" in refused("hf://org/secret")
    assert f"ask for access at {hub.url}/org/gated" in refused("hf://org/gated")
    assert 'no revision "v9"' in refused("hf://org/net@v9")
    assert "nearest: model.safetensors" in refused("hf://org/net/model.safetensor")
    assert "names no repository" in refused("hf://org/a b")
    assert "no path in a repository" in refused("hf://org/net/../x")
    monkeypatch.setenv("HF_TOKEN", "hf_reader")
    for name in ("secret", "gated"):
        assert taut.analyze(f"hf://org/{name}").parameters == 8 * 256


def test_a_hostile_hub_writes_nothing_elsewhere(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    hub.add("org/net", {"model.safetensors": weights(8), "../../../../mine": b"x"})
    assert "is no hub, or a hostile one" in refused("hf://org/net")
    assert (tmp_path / "mine").read_text() == "mine"
    assert "is no revision" in refused("hf://org/net@../x")
    assert "is no revision" in refused("hf://org/net@..%2f..%2fx")


def test_the_token_stays_with_the_hub(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    data = weights(8)
    hub.add("org/net", {"model.safetensors": data}, token="hf_reader")
    hub.elsewhere = hub.url.replace("127.0.0.1", "localhost")
    monkeypatch.setenv("HF_TOKEN", "hf_reader")
    hub.cuts += [5000]
    with staged("hf://org/net") as folder:
        assert (folder / "model.safetensors").read_bytes() == data
    assert hub.tokens["localhost"] == {None}
    assert hub.tokens["127.0.0.1"] == {"hf_reader"}


@pytest.mark.parametrize(
    ("status", "told"),
    [(401, "token"), (403, r"refuses it \(403\)"), (429, "too many requests"), (500, "trouble")],
)
@pytest.mark.parametrize("where", ["GET /api/models/org/net", "GET /org/net/resolve"])
def test_statuses_are_told(hub: Hub, status: int, told: str, where: str) -> None:
    hub.add("org/net", {"model.safetensors": weights(8)})
    hub.fails[where] += 60 * [status]
    with pytest.raises(ArgumentError, match=rf"^hf://org/net: .*{told}"):
        taut.analyze("hf://org/net")


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize("where", ["/api/models/org/net", "GET /org/net/", "HEAD /org/net/"])
def test_what_passes_is_tried_again(hub: Hub, status: int, where: str) -> None:
    hub.add("org/net", {"model.safetensors": weights(8)})
    hub.fails[where] += [status, status]
    assert taut.analyze("hf://org/net").parameters == 8 * 256


def test_offline(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("org/net", {"model.safetensors": weights(8)})
    taut.analyze("hf://org/net")
    hub.asked.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert taut.analyze("hf://org/net").parameters == 8 * 256
    assert "HF_HUB_OFFLINE" in refused("hf://org/other")
    assert hub.asked == []


def test_a_hub_that_is_not_there(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("org/net", {"model.safetensors": weights(8)})
    taut.analyze("hf://org/net")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert taut.analyze("hf://org/net").parameters == 8 * 256
    assert "cannot be reached" in refused("hf://org/other")


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(ArgumentError, match=r"pip install 'taut\[hub\]'"):
        taut.info("hf://org/net")
