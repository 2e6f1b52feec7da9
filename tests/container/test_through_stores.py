"""Models in stores: read by ranges, written whole or not at all, told by their URLs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import taut
from taut.errors import ArgumentError, VerifyError
from taut.io.holes import fill_holes
from taut.io.staged import staged
from taut.io.stores import open_store, reaching, url_of

fsspec = pytest.importorskip("fsspec")
safetensors = pytest.importorskip("safetensors.numpy")


@pytest.fixture(scope="session")
def weights() -> dict[str, np.ndarray]:
    """Three tensors of 256 kB."""
    rng = np.random.default_rng(0)
    return {f"w{i}": rng.normal(size=(256, 256)).astype(np.float32) for i in range(3)}


@pytest.fixture
def memory() -> Iterator[Any]:
    """The store of this process, empty."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """A local S3 server, and credentials for it."""
    server = pytest.importorskip("moto.server", reason="moto is not installed")
    pytest.importorskip("s3fs")
    running = server.ThreadedMotoServer(port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty bucket as a URL."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    system = fsspec.filesystem("s3", skip_instance_cache=True)
    if system.exists("models"):
        system.rm("models", recursive=True)
    system.makedirs("models", exist_ok=True)
    return "s3://models"


def put(url: str, weights: dict[str, np.ndarray]) -> None:
    store = open_store(url)
    store.system.pipe_file(store.path, safetensors.save(weights))


@pytest.fixture(params=["memory", "s3"])
def root(request: pytest.FixtureRequest) -> str:
    """A store, as a URL."""
    name = "bucket" if request.param == "s3" else "memory"
    found = request.getfixturevalue(name)
    return found if request.param == "s3" else "memory://models"


def test_every_verb_in_a_store(root: str, weights: dict[str, np.ndarray]) -> None:
    put(f"{root}/net.safetensors", weights)
    made = taut.compress(f"{root}/net.safetensors", f"{root}/out/net.taut.safetensors")
    assert str(made.path) == f"{root}/out/net.taut.safetensors"
    about = taut.info(f"{root}/out/net.taut.safetensors")
    assert (str(about.path), about.size) == (str(made.path), made.size)
    assert taut.verify(f"{root}/out/net.taut.safetensors").tensors == 3
    loaded = taut.load(f"{root}/out/net.taut.safetensors")
    assert np.array_equal(loaded["w1"], weights["w1"])
    back = taut.decompress(f"{root}/out/net.taut.safetensors", f"{root}/back.safetensors")
    assert str(back.path) == f"{root}/back.safetensors"
    store = open_store(f"{root}/back.safetensors")
    assert store.system.cat_file(store.path) == safetensors.save(weights)
    assert sorted(open_store(root).files()) == [
        "back.safetensors", "net.safetensors", "out/net.taut.safetensors",
    ]  # fmt: skip


def test_verbs_that_look_and_those_that_export(root: str, weights: dict[str, np.ndarray]) -> None:
    put(f"{root}/net.safetensors", weights)
    url = f"{root}/net.safetensors"
    assert taut.analyze(url).parameters == 3 * 256 * 256
    assert taut.plan(url, bits=4) == taut.plan(weights, bits=4)
    small = {"bits": [3], "schemes": [], "effort": "fast"}
    point = taut.frontier(url, **small).points[0]
    assert point.size == pytest.approx(taut.frontier(weights, **small).points[0].size, rel=0.01)
    taut.compress(url, f"{root}/net.taut.safetensors")
    out = taut.export(f"{root}/net.taut.safetensors", f"{root}/plain.safetensors")
    assert str(out.path) == f"{root}/plain.safetensors"
    store = open_store(str(out.path))
    found = safetensors.load(store.system.cat_file(store.path))
    assert all(np.array_equal(found[name], weights[name]) for name in weights)
    with pytest.raises(ArgumentError, match=f"{root}/points: is in a store; out is written"):
        taut.frontier(url, f"{root}/points", **small)


def test_who_reads_by_himself_gets_all_of_it(memory: Any, weights: dict[str, np.ndarray]) -> None:
    weights = {name: np.tile(one, (8, 1)) for name, one in weights.items()}
    put("memory://m/model.safetensors", weights)
    with staged("memory://m") as folder:
        assert not safetensors.load_file(folder / "model.safetensors")["w2"].any()
        fill_holes(folder)
        found = safetensors.load_file(folder / "model.safetensors")
    assert all(np.array_equal(found[name], weights[name]) for name in weights)


def test_folders(root: str, weights: dict[str, np.ndarray], tmp_path: Path) -> None:
    put(f"{root}/m/model.safetensors", weights)
    store = open_store(f"{root}/m/config.json")
    store.system.pipe_file(store.path, b"{}")
    made = taut.compress(f"{root}/m", f"{root}/m-taut")
    assert str(made.path) == f"{root}/m-taut/model.taut.safetensors"
    names = set(open_store(f"{root}/m-taut").files())
    assert names == {"model.taut.safetensors", "config.json"}
    taut.decompress(f"{root}/m-taut", tmp_path / "m")
    assert (tmp_path / "m/model.safetensors").read_bytes() == safetensors.save(weights)


def counted(system: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes of each range that is fetched from now on."""
    fetched: list[int] = []
    plain = type(system).cat_file

    def cat(self: Any, path: str, start: int = 0, end: int = 0, **more: Any) -> Any:
        fetched.append(end - start)
        return plain(self, path, start=start, end=end, **more)

    monkeypatch.setattr(type(system), "cat_file", cat)
    return fetched


def test_a_look_costs_the_header_and_a_tensor_its_own_bytes(
    memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    weights = {f"w{i}": rng.normal(size=(1024, 1024)).astype(np.float32) for i in range(3)}
    put("memory://net.safetensors", weights)
    taut.compress("memory://net.safetensors", "memory://net.taut.safetensors")
    fetched = counted(memory, monkeypatch)
    size = taut.info("memory://net.taut.safetensors").size
    assert 0 < sum(fetched) <= 2 << 20 < size / 4
    fetched.clear()
    assert np.array_equal(taut.load("memory://net.taut.safetensors")["w2"], weights["w2"])
    assert sum(fetched) < size / 2


def test_what_fails_leaves_nothing(
    memory: Any, weights: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    put("memory://net.safetensors", weights)

    def broken(*_: Any, **__: Any) -> None:
        raise OSError("the line is down")

    monkeypatch.setattr(type(memory), "mv", broken)
    with pytest.raises(ArgumentError, match=r"memory://out.*the line is down"):
        taut.compress("memory://net.safetensors", "memory://out.taut.safetensors")
    assert sorted(memory.store) == ["/net.safetensors"]


def test_nothing_is_replaced_unless_asked(memory: Any, weights: dict[str, np.ndarray]) -> None:
    put("memory://net.safetensors", weights)
    put("memory://out.taut.safetensors", weights)
    with pytest.raises(ArgumentError, match=r"memory://out\.taut\.safetensors: exists; give -f"):
        taut.compress("memory://net.safetensors", "memory://out.taut.safetensors")
    taut.compress("memory://net.safetensors", "memory://out.taut.safetensors", force=True)
    assert taut.verify("memory://out.taut.safetensors").tensors == 3


def test_damage_is_told_by_the_url(memory: Any, weights: dict[str, np.ndarray]) -> None:
    put("memory://net.safetensors", weights)
    taut.compress("memory://net.safetensors", "memory://net.taut.safetensors")
    data = bytearray(memory.cat_file("/net.taut.safetensors"))
    data[len(data) // 2] ^= 1
    memory.pipe_file("/net.taut.safetensors", bytes(data))
    with pytest.raises(VerifyError, match=r"^memory://net\.taut\.safetensors: tensor"):
        taut.verify("memory://net.taut.safetensors")
    found = taut.load("memory://net.taut.safetensors")
    with pytest.raises(VerifyError):
        found.load_all()


def test_a_source_that_changes_meanwhile_is_told(
    memory: Any, weights: dict[str, np.ndarray], tmp_path: Path
) -> None:
    put("memory://net.safetensors", weights)

    def changing(*_: object) -> None:
        put("memory://net.safetensors", {"other": np.zeros(8, np.float32)})

    with pytest.raises(VerifyError, match=r"net\.safetensors: changed while it was read"):
        taut.compress(
            "memory://net.safetensors", tmp_path / "n.taut.safetensors", progress=changing
        )


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("memory://nothing", "memory://nothing: no such file or folder"),
        ("nowhere://a/b", "nowhere://a/b: no such kind of storage is known"),
    ],
)
def test_what_is_not_there(memory: Any, url: str, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        taut.info(url)


def test_a_run_to_a_store_cannot_be_resumed(memory: Any) -> None:
    with pytest.raises(ArgumentError, match=r"memory://x.*write to this machine"):
        taut.compress({"w": np.ones(4)}, "memory://x.taut.safetensors", resume=True)


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
    with pytest.raises(ArgumentError, match=r"pip install 'taut\[remote\]'"):
        taut.info("s3://bucket/net.taut.safetensors")


def test_what_a_store_refuses_says_where_credentials_are_read() -> None:
    told = r"s3://b/x: cannot be reached .*AWS_ACCESS_KEY_ID"
    with pytest.raises(ArgumentError, match=told), reaching("s3://b/x"):
        raise PermissionError("Access Denied")


def test_file_urls_are_local(tmp_path: Path, weights: dict[str, np.ndarray]) -> None:
    path = tmp_path / "a b.safetensors"
    path.write_bytes(safetensors.save(weights))
    target = (tmp_path / "out.taut.safetensors").as_uri()
    taut.compress(path.as_uri(), target)
    assert taut.verify(target).tensors == 3


def test_names_that_are_urls_and_such_that_are_not() -> None:
    assert url_of("hf://org/model") == "hf://org/model"
    assert url_of(Path("gs://bucket/a/b")) == "gs://bucket/a/b"
    for name in ("a/b", "build.py:model", "C:\\a", "C:/a", "s3:/a", "-", Path("/a/b"), 3, None):
        assert url_of(name) is None


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ("hf://", "repository"),
        (Path("hf://"), "repository"),
        ("s3:///weights", "bucket"),
        (Path("gs://"), "bucket"),
        ("https://", "host"),
        ("file://", "path"),
        ("other://", "path"),
    ],
)
def test_a_url_that_stops_too_early_says_what_is_missing(
    given: str | Path, what: str, tmp_path: Path
) -> None:
    with pytest.raises(ArgumentError, match=rf"://.*: names no {what}; give "):
        taut.compress(given, tmp_path / "m.taut.safetensors")
    with pytest.raises(ArgumentError, match=rf"://.*: names no {what}; give "):
        taut.compress({"w": np.ones(3)}, given)
    assert list(tmp_path.iterdir()) == []
