"""Shards in, shards out: each a file of its own, all of them one model, and resumed by shard."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import taut
from taut.compression import shard_job as shards_module
from taut.compression.shard_job import ShardJob, compress_shard, partition_of, shard_origin
from taut.container import TautFile, open_taut
from taut.errors import ArgumentError
from taut.io import open_source
from taut.io.shard_index import bytes_with_shards

INDEX = "model.taut.safetensors.index.json"
COUNT = 3


@pytest.fixture
def folder(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A model folder of three shards, with a config."""
    made = tmp_path / "model"
    made.mkdir()
    listed = {}
    for number in range(COUNT):
        name = f"model-{number + 1:05}-of-{COUNT:05}.safetensors"
        tensors = {
            f"layers.{number}.weight": (rng.standard_normal((96, 128)) / 50).astype(np.float32),
            f"layers.{number}.bias": rng.standard_normal(96).astype(np.float32),
        }
        save_file(tensors, made / name, metadata={"format": "pt"})
        listed |= dict.fromkeys(tensors, name)
    index = {"metadata": {"total_size": 1}, "weight_map": listed}
    (made / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))
    (made / "config.json").write_text('{"model_type": "bert"}')
    return made


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_shards_become_shards_and_come_back_to_the_byte(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "small"
    result = taut.compress(folder, out)
    files = sorted(path.name for path in out.glob("*.safetensors"))
    assert files == [f"model-{n + 1:05}-of-{COUNT:05}.taut.safetensors" for n in range(COUNT)]
    assert result.path == out / INDEX
    assert result.size == sum(
        path.stat().st_size for path in (*out.glob("*.safetensors"), result.path)
    )
    assert result.original_size == sum(p.stat().st_size for p in folder.glob("*.safetensors"))
    assert all(taut.verify(out / file).tensors == 2 for file in files)  # each is one of its own
    assert taut.verify(out).tensors == len(taut.info(out).tensors) == 2 * COUNT
    taut.decompress(out, tmp_path / "back")
    assert contents(tmp_path / "back") == contents(folder)
    assert not (tmp_path / "small.journal").exists()


def test_shards_are_read_as_one_model(folder: Path, tmp_path: Path) -> None:
    taut.compress(folder, tmp_path / "small")
    source, file = open_source(folder), taut.load(tmp_path / "small")
    assert list(file) == [info.name for info in source.infos]
    index = (tmp_path / "small" / "model.taut.safetensors.index.json").read_text()
    assert f'"checksum":"{file.checksum}"' in index[:80]
    arrays = file.load_all(out={"layers.1.bias": np.empty(96, np.float32)})
    for name in file:
        assert file[name].tobytes() == arrays[name].tobytes() == source.load(name).tobytes()
    into = np.empty((96, 128), np.float32)
    file.read_into("layers.2.weight", into)
    assert into.tobytes() == source.load("layers.2.weight").tobytes()
    with pytest.raises(ArgumentError, match="no tensor"):
        file["layers.9.weight"]


def test_a_size_counts_all_shards_and_the_index(folder: Path, tmp_path: Path) -> None:
    target = 25_000
    result = taut.compress(folder, tmp_path / "small", size=target)
    taken = sum(path.stat().st_size for path in (tmp_path / "small").glob("model*"))
    assert 0.99 * target <= result.size == taken <= target


@pytest.mark.parametrize("size", [1, 60_000, "1GB"])
def test_a_shard_size_cuts_anew_and_the_original_comes_back(
    folder: Path, tmp_path: Path, size: str | int
) -> None:
    single = tmp_path / "one.safetensors"
    source = open_source(folder)
    save_file({i.name: source.load(i.name).copy() for i in source.infos}, single)
    taut.compress(single, tmp_path / "cut", shard_size=size)
    count = {1: 2 * COUNT, 60_000: COUNT, "1GB": 1}[size]
    assert len(list((tmp_path / "cut").glob("*.safetensors"))) == count
    taut.decompress(tmp_path / "cut", tmp_path / "back")
    assert (tmp_path / "back" / "one.safetensors").read_bytes() == single.read_bytes()


def test_tied_tensors_stay_in_one_shard(tmp_path: Path, rng: np.random.Generator) -> None:
    weight = rng.standard_normal((64, 64)).astype(np.float32)
    model = {"a": weight, "b": rng.standard_normal((64, 64)).astype(np.float32), "c": weight}
    taut.compress(model, tmp_path / "cut", shard_size=1)
    file = open_taut(tmp_path / "cut")
    assert len(file.parts) == 2
    arrays = file.load_all()
    assert np.shares_memory(arrays["a"], arrays["c"])


def test_any_process_makes_the_same_shard(folder: Path, tmp_path: Path) -> None:
    import pickle  # what carries the work to a worker

    taut.compress(folder, tmp_path / "small")
    source = open_source(folder)
    partition = partition_of(source, None)
    assert partition is not None
    file = partition.files[1]
    names = partition.names(file, source)
    whole = open_taut(tmp_path / "small").index.origin
    job = ShardJob(
        src=folder,
        names=names,
        path=tmp_path / file,
        origin=shard_origin(whole, source, partition, file),
        schemes=dict.fromkeys(names, taut.scheme.Scheme()),
        effort="fast",
        stamps=source.stamps,
    )
    facts = compress_shard(pickle.loads(pickle.dumps(job)))
    assert (tmp_path / file).read_bytes() == (tmp_path / "small" / file).read_bytes()
    assert (facts.nbytes, facts.checksum) == (
        (tmp_path / file).stat().st_size,
        TautFile(tmp_path / file).checksum,
    )


@pytest.mark.parametrize("options", [{}, {"bits": 4, "effort": "fast"}], ids=["exact", "lossy"])
def test_a_resumed_run_does_no_shard_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, object]
) -> None:
    taut.compress(folder, tmp_path / "whole", **options)
    made: list[str] = []

    def breaking(job: ShardJob, **kwargs: object) -> object:
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(job.path.name)
        return compress_shard(job, **kwargs)

    writing = sys.modules["taut.compression.writing"]
    monkeypatch.setattr(writing, "compress_shard", breaking)
    with pytest.raises(KeyboardInterrupt):
        taut.compress(folder, tmp_path / "small", **options)
    assert not (tmp_path / "small").exists()
    monkeypatch.setattr(
        writing,
        "compress_shard",
        lambda job, **rest: made.append(job.path.name) or compress_shard(job, **rest),
    )
    result = taut.compress(folder, tmp_path / "small", resume=True, **options)
    assert len(made) == len(set(made)) == COUNT
    assert contents(tmp_path / "small") == contents(tmp_path / "whole")
    assert any("2 of 3 shards" in note for note in result.notes)
    assert not (tmp_path / "small.journal").exists()


KILLED = """
import os, signal, sys, taut
from taut.compression import writing
plain = writing.compress_shard
done = []
def dying(job, **rest):
    if len(done) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    done.append(job)
    return plain(job, **rest)
writing.compress_shard = dying
taut.compress(sys.argv[1], sys.argv[2])
"""


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_a_killed_run_goes_on(folder: Path, tmp_path: Path) -> None:
    taut.compress(folder, tmp_path / "whole")
    out = tmp_path / "small"
    ended = subprocess.run([sys.executable, "-c", KILLED, str(folder), str(out)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "small.journal" / "work").iterdir())) == 2
    result = taut.compress(folder, out, resume=True)
    assert any("2 of 3 shards" in note for note in result.notes)
    assert contents(out) == contents(tmp_path / "whole")


def test_what_changed_since_is_noticed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(job: ShardJob, **kwargs: object) -> object:
        if job.path.name.startswith("model-00002"):
            raise KeyboardInterrupt
        return compress_shard(job, **kwargs)

    monkeypatch.setattr(sys.modules["taut.compression.writing"], "compress_shard", broken)
    out = tmp_path / "small"
    with pytest.raises(KeyboardInterrupt):
        taut.compress(folder, out)
    with pytest.raises(ArgumentError, match="begun with another plan"):
        taut.compress(folder, out, resume=True, effort="max")
    with pytest.raises(ArgumentError, match="begun with another division into shards"):
        taut.compress(folder, out, resume=True, shard_size=1)
    shard = next(folder.glob("*.safetensors"))
    os.utime(shard, ns=(1, 1))
    with pytest.raises(ArgumentError, match="begun with another model"):
        taut.compress(folder, out, resume=True)


def test_resume_says_when_there_is_nothing_to_resume(folder: Path, tmp_path: Path) -> None:
    file = next(folder.glob("*.safetensors"))
    result = taut.compress(file, tmp_path / "one.taut.safetensors", resume=True)
    assert any("no unfinished run" in note for note in result.notes)


def test_other_weights_in_the_folder_are_an_error(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "small"
    taut.compress(folder, out)
    with pytest.raises(ArgumentError, match="of another compression"):
        taut.compress(folder, out, force=True, shard_size=1)
    taut.compress(folder, out, force=True)
    assert taut.verify(out).tensors == 2 * COUNT


def test_what_cannot_be_shards_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="name a folder"):
        taut.compress(folder, tmp_path / "x.safetensors", shard_size="1GB")
    with pytest.raises(ArgumentError, match="shard_size"):
        taut.compress(folder, tmp_path / "x", shard_size="many")
    assert shards_module.partition_of(open_source({"w": np.zeros(3)}), None) is None


def test_sizes_that_were_found_are_not_looked_for_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from taut.encoding import data_free

    monkeypatch.setattr(sys.modules["taut.compression.compress"], "LARGE", 1)
    source, out = next(folder.glob("*.safetensors")), tmp_path / "one.taut.safetensors"
    taut.compress(source, tmp_path / "whole", bits=4, effort="fast")
    looked: list[int] = []
    plain = data_free.predict_size

    def counting(*args: object, **rest: object) -> int:
        looked.append(1)
        return plain(*args, **rest)

    monkeypatch.setattr(data_free, "predict_size", counting)

    def ending(stage: str, done: int, total: int) -> None:
        assert stage == "search", "the process ends here"

    with pytest.raises(AssertionError, match="ends here"):
        taut.compress(source, out, bits=4, effort="fast", progress=ending)
    assert looked
    looked.clear()
    result = taut.compress(source, out, bits=4, effort="fast", resume=True)
    assert looked == []
    assert any("sizes were known" in note for note in result.notes)
    assert out.read_bytes() == (tmp_path / "whole").read_bytes()
    assert not out.with_name(f"{out.name}.journal").exists()


def test_the_size_of_shards_is_that_of_all_files(folder: Path, tmp_path: Path) -> None:
    result = taut.compress(folder, tmp_path / "small")
    assert bytes_with_shards(result.path) == result.size
    index = folder / "model.safetensors.index.json"
    files = (index, *folder.glob("*.safetensors"))
    assert bytes_with_shards(index) == sum(path.stat().st_size for path in files)
    assert bytes_with_shards(files[1]) == files[1].stat().st_size


@pytest.mark.parametrize("verb", [taut.analyze, taut.frontier, taut.plan])
def test_shards_of_taut_are_no_original(
    folder: Path, tmp_path: Path, verb: Callable[..., object]
) -> None:
    taut.compress(folder, tmp_path / "small")
    asked = {"bits": 4} if verb is taut.plan else {}
    with pytest.raises(ArgumentError, match="is a Taut file"):
        verb(tmp_path / "small", **asked)
