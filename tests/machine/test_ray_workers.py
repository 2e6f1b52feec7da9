"""A cluster of two nodes on this machine: the same bytes, and a death costs its piece."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from safetensors.numpy import save_file

import taut
from taut.errors import ArgumentError, TargetError, TautError
from taut.machine.ray_workers import RayWorkers
from taut.machine.workers import each, open_workers

ray = pytest.importorskip("ray", reason="ray is not installed")
pytestmark = pytest.mark.slow("a Ray cluster")

SHARDS = 4


@pytest.fixture(scope="module")
def store() -> Iterator[str | None]:
    """A local S3 server's bucket, which the workers find too; None without moto."""
    try:
        from moto.server import ThreadedMotoServer
    except ImportError:
        yield None
        return
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        yield "s3://models"
    server.stop()


@pytest.fixture(scope="module")
def cluster(store: str | None) -> Iterator[Any]:
    """Two nodes of one processor each."""
    from ray.cluster_utils import Cluster

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    made.add_node(num_cpus=1)
    made.wait_for_nodes()
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of four shards."""
    made = tmp_path_factory.mktemp("model")
    rng = np.random.default_rng(0)
    listed = {}
    for number in range(SHARDS):
        name = f"model-{number + 1:05}-of-{SHARDS:05}.safetensors"
        tensors = {f"layers.{number}.weight": rng.normal(size=(512, 512)).astype(np.float32)}
        save_file(tensors, made / name, metadata={"format": "pt"})
        listed |= dict.fromkeys(tensors, name)
    index = {"metadata": {"total_size": 1}, "weight_map": listed}
    (made / "model.safetensors.index.json").write_text(json.dumps(index))
    (made / "config.json").write_text("{}")
    return made


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refuses(what: str) -> None:
    raise TargetError(what)


def breaks() -> None:
    raise KeyError("x")


def dies_once(marker: str) -> int:
    """Kill the worker the first time; give the second worker's process."""
    if not os.path.exists(marker):
        open(marker, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def test_pieces_and_what_they_raise(cluster: Any, tmp_path: Path) -> None:
    with open_workers(cluster.address, 4) as workers:
        assert (workers.width, workers.elsewhere) == (2, True)
        assert workers.run(divmod, 7, 2) == (3, 1)
        assert dict(each(workers, abs, range(-3, 0))) == {-3: 3, -2: 2, -1: 1}
        with pytest.raises(TargetError, match=r"^no size$"):
            workers.run(refuses, "no size")
        with pytest.raises(TautError, match="a piece failed on a worker: KeyError"):
            workers.run(breaks)
        assert workers.run(dies_once, str(tmp_path / "marker")) != os.getpid()
    assert not ray.is_initialized()


@pytest.mark.parametrize("asked", [{}, {"bits": 4}], ids=["lossless", "bits"])
def test_the_bytes_are_those_of_one_machine(
    cluster: Any, folder: Path, tmp_path: Path, asked: dict[str, Any]
) -> None:
    here = taut.compress(folder, tmp_path / "here", **asked)
    there = taut.compress(folder, tmp_path / "there", ray=cluster.address, **asked)
    assert contents(tmp_path / "there") == contents(tmp_path / "here")
    assert there.size == here.size
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "there"]


def test_a_node_that_dies_costs_its_pieces(cluster: Any, folder: Path, tmp_path: Path) -> None:
    taut.compress(folder, tmp_path / "here", bits=3)
    node = cluster.add_node(num_cpus=2)
    cluster.wait_for_nodes()
    killed = threading.Event()

    def kill() -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            for one in psutil.Process().children(recursive=True):
                if one.name().startswith("ray::") and "_call" in one.name():
                    one.kill()
                    cluster.remove_node(node, allow_graceful=False)
                    killed.set()
                    return
            time.sleep(0.01)

    killer = threading.Thread(target=kill)
    killer.start()
    taut.compress(folder, tmp_path / "there", bits=3, ray=cluster.address)
    killer.join()
    assert killed.is_set()
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


def test_a_calibrated_run_has_its_matrices_rounded_there(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 64), torch.nn.Linear(64, 32)
    )
    asked: dict[str, Any] = {"calib": list(torch.randn(256, 64).split(16)), "bits": 4}
    paths = [tmp_path / f"{name}.taut.safetensors" for name in ("here", "there")]
    taut.compress(net, paths[0], **asked)
    asked_for = []
    plain = RayWorkers.run

    def run(self: RayWorkers, function: Any, *arguments: Any) -> Any:
        asked_for.append(function.__name__)
        return plain(self, function, *arguments)

    monkeypatch.setattr(RayWorkers, "run", run)
    taut.compress(net, paths[1], ray=cluster.address, **asked)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert set(asked_for) == {"round_rows"}


def test_a_model_in_a_store_is_read_by_the_workers(
    cluster: Any, store: str | None, folder: Path, tmp_path: Path
) -> None:
    if store is None:
        pytest.skip("moto is not installed")
    fsspec = pytest.importorskip("fsspec")
    system = fsspec.filesystem("s3", skip_instance_cache=True)
    system.makedirs("models", exist_ok=True)  # servers of one process share their stores
    for path in folder.iterdir():
        system.pipe_file(f"models/by_workers/{path.name}", path.read_bytes())
    taut.compress(folder, tmp_path / "here")
    taut.compress(f"{store}/by_workers", tmp_path / "there", ray=cluster.address)
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


def test_one_file_is_not_shared_and_says_so(cluster: Any, folder: Path, tmp_path: Path) -> None:
    source = folder / f"model-00001-of-{SHARDS:05}.safetensors"
    made = taut.compress(source, tmp_path / "one.taut.safetensors", ray=cluster.address)
    assert [note for note in made.notes if "--shard-size makes several" in note]


def test_what_is_in_memory_is_refused(cluster: Any, tmp_path: Path) -> None:
    weights = {f"w{i}": np.ones((256, 256), np.float32) for i in range(3)}
    with pytest.raises(ArgumentError, match="the model is in memory, which other machines do not"):
        taut.compress(weights, tmp_path / "m", shard_size="300kB", ray=cluster.address)
    assert list(tmp_path.iterdir()) == []


def test_a_cluster_with_another_version_is_refused(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taut.machine.ray_workers.__version__", "0.0.1")
    with pytest.raises(ArgumentError, match=r"has Taut .*, and here is 0\.0\.1"):
        open_workers(cluster.address, 1).__enter__()
    assert not ray.is_initialized()


def test_no_cluster_answers() -> None:
    with pytest.raises(ArgumentError, match=r"127\.0\.0\.1:1: no cluster answers"):
        open_workers("127.0.0.1:1", 1).__enter__()
