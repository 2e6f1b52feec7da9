"""`taut compress` and `taut decompress`: files, talk, JSON, and what is left untouched."""

import json
import shutil

import pytest
from safetensors.numpy import load_file

KEYS = {"size", "original_size", "ratio", "bits", "parameters", "tensors"}
TENSOR_KEYS = {"name", "dtype", "shape", "scheme", "bytes", "bits", "rel_mse"}


def test_there_and_back_is_byte_identical(run, model, tmp_path):
    assert run("compress", model).exit_code == 0
    small = tmp_path / "net.taut.safetensors"
    assert small.is_file()
    assert run("decompress", small, "-o", tmp_path / "back.safetensors").exit_code == 0
    assert (tmp_path / "back.safetensors").read_bytes() == model.read_bytes()


def test_the_talk_tells_model_plan_work_and_size_on_stderr(run, model):
    result = run("compress", model)
    labels = [line.split()[0] for line in result.stderr.splitlines()]
    assert labels[:2] == ["model", "plan"]
    assert labels[-3:] == ["encode", "verify", "size"]
    assert "17.0 k parameters, 4 tensors" in result.stderr
    assert result.stdout == ""


def test_quiet_is_silent(run, model):
    result = run("compress", model, "-q")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


def test_nothing_is_overwritten_without_f(run, model, tmp_path):
    target = tmp_path / "mine"
    target.write_text("precious")
    refused = run("compress", model, "-o", target)
    assert refused.exit_code == 2
    assert "mine" in refused.stderr
    assert target.read_text() == "precious"
    assert run("compress", model, "-o", target, "-f").exit_code == 0
    assert target.read_bytes() != b"precious"


def test_json_has_the_promised_keys(run, model):
    result = run("compress", model, "--json", "-q")
    report = json.loads(result.stdout)
    assert report.keys() >= KEYS | {"seconds", "peak_memory"}
    assert report["original_size"] == model.stat().st_size
    assert report["size"] == model.with_name("net.taut.safetensors").stat().st_size
    assert report["ratio"] == pytest.approx(report["original_size"] / report["size"])
    assert [tensor.keys() >= TENSOR_KEYS for tensor in report["tensors"]] == [True] * 4


def test_a_dry_run_writes_nothing(run, model, tmp_path):
    before = sorted(tmp_path.iterdir())
    result = run("compress", model, "--dry-run", "--json")
    assert result.exit_code == 0
    assert "nothing written" in result.stderr
    report = json.loads(result.stdout)
    assert report["peak_memory"] > 0
    assert 0 < report["size"] < report["original_size"]
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "options",
    [("--bits", 4, "--size", "8x"), ("--bits", 0), ("--bits", -1), ("--size", "small")],
)
def test_what_cannot_be_asked_exits_2_and_writes_nothing(run, model, tmp_path, options):
    before = sorted(tmp_path.iterdir())
    result = run("compress", model, *options)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith("taut: ")
    assert sorted(tmp_path.iterdir()) == before


def test_a_missing_model_is_one_line(run, tmp_path):
    result = run("compress", tmp_path / "none.safetensors", "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["kind"] == "ArgumentError"
    assert "none.safetensors" in result.stderr


def test_a_damaged_model_exits_1(run, model):
    model.write_bytes(model.read_bytes()[:100])
    result = run("compress", model)
    assert result.exit_code == 1
    assert "net.safetensors" in result.stderr


def test_a_model_folder_stays_a_model_folder(run, model, tmp_path):
    folder = tmp_path / "encoder"
    folder.mkdir()
    shutil.move(model, folder / "model.safetensors")
    (folder / "config.json").write_text("{}")
    assert run("compress", folder).exit_code == 0
    small = tmp_path / "encoder-taut"
    assert (small / "model.taut.safetensors").is_file()
    assert (small / "config.json").read_text() == "{}"
    assert run("verify", small).exit_code == 0
    assert run("decompress", small, "-o", tmp_path / "back").exit_code == 0
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "back" / name).read_bytes() == (folder / name).read_bytes()


def test_verbose_lists_the_tensors_on_stderr(run, model):
    result = run("compress", model, "-v")
    assert "layer.weight" in result.stderr
    assert result.stdout == ""


def test_decompress_says_what_it_wrote(run, model, tmp_path):
    run("compress", model, "-q")
    result = run("decompress", tmp_path / "net.taut.safetensors", "-f", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"path": str(model), "size": model.stat().st_size}


def test_a_part_of_a_checkpoint_is_told_and_chosen(run, tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "last.ckpt"
    torch.save({"model": {"w": torch.ones(9)}, "ema": {"w": torch.zeros(9)}, "epoch": 3}, path)
    result = run("compress", path)
    assert result.exit_code == 0
    assert '"model" (1 tensor)' in result.stderr and "epoch" in result.stderr
    for command in ("analyze", "bench", "compress"):
        extra = ("--dry-run",) if command == "compress" else ()
        assert run(command, path, "--key", "ema", *extra).exit_code == 0
        refused = run(command, path, "--key", "emma", *extra)
        assert refused.exit_code == 2
        assert '"model" (1), "ema" (1)' in refused.stderr


def test_strict_refuses_shards_that_differ_from_their_index(run, model, tmp_path):
    index = tmp_path / "m.safetensors.index.json"
    name = next(iter(load_file(model)))
    index.write_text(json.dumps({"weight_map": {name: model.name, "gone": model.name}}))
    told = run("compress", index)
    assert told.exit_code == 0
    assert '"gone" is listed' in told.stderr
    for command in ("compress", "analyze", "plan"):
        extra = ("-f",) if command == "compress" else ("--bits", "4") if command == "plan" else ()
        refused = run(command, index, "--strict", *extra)
        assert refused.exit_code == 1
        assert "m.safetensors.index.json" in refused.stderr
