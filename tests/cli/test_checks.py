"""Options that are wrong by themselves are told before anything is read, run or printed."""

import json

import pytest

from taut.cli._kinds import KINDS, kind_of
from taut.container.free_name import free_name

WRONG = [
    (("compress", "MODEL", "--size", "8"), "8x?"),
    (("compress", "MODEL", "--size", "0.5x"), "more than the original"),
    (("compress", "MODEL", "--bits", "400"), "widest weights"),
    (("compress", "MODEL", "--bits", "40"), "more than the 33.1 bits per weight"),
    (("compress", "MODEL", "--bits", "3", "--size", "8x"), "either bits or size"),
    (("compress", "MODEL", "--max-drop", "1%"), "--score"),
    (("compress", "MODEL", "--calib", "textx.txt"), "textx.txt: no such file; nearest: texts.txt"),
    (("compress", "MODEL", "--calib", "x.npy"), "--calib: x.npy: no such file"),
    (("compress", "MODEL", "--calib", "textx"), "textx: no such file or folder; nearest: texts.t"),
    (("compress", "MODEL", "--calib", "built.py:batches"), "built.py: no such file"),
    (("compress", "MODEL", "--calib", "texts.tx,length=9"), "texts.tx: no such file; nearest: tex"),
    (("compress", "MODEL", "--calib", "texts.txt,len=9"), 'no option "len"'),
    (("frontier", "MODEL", "--points", "3", "--bits", "2"), "bits, sizes and points all set"),
    (("frontier", "MODEL", "--from", "9", "--to", "2"), "from 9 to 2 bits is no way up"),
    (("frontier", "MODEL", "--schemes", "int8,foo"), 'unknown part "foo"'),
    (("frontier", "MODEL", "--score", "none.py:score"), "--score: none.py: no such file"),
    (("frontier", "build.py:model", "--calib", "build.py:no"), 'build.py: has no "no"'),
    (("frontier", "build.py:model", "--score", "build.py:no"), 'build.py: has no "no"'),
    (("frontier", "MODEL", "--score", "score"), "name a function in a file as file.py:function"),
    (("compress", "MODEL", "--shard-size", "5MBB"), 'shard_size (--shard-size): "5MBB" is no'),
    (("compress", "MODEL", "--shard-size", "5MB"), "become several files; name a folder (-o)"),
    (("compress", "MODEL", "-o", "no/x.taut.safetensors"), "the folder no does not exist; make"),
    (("decompress", "MODEL", "-o", "no/x.safetensors"), "the folder no does not exist; make it"),
    (("frontier", "MODEL", "--calib", "x.parquet"), "--calib: x.parquet: no such file"),
    (("compress", "MODEL", "--plan", "edg"), "nearest: edge"),
    (("compress", "MODEL", "--calib", "plan.yaml"), "is a plan; give it to --plan"),
    (("compress", "MODEL", "--plan", "eval.json"), "what taut eval --json printed"),
    (("compress", "MODEL", "--plan", "tokenizer.json"), "is a tokenizer"),
    (("compress", "MODEL", "--calib", "m.index.json"), "the index of a sharded model"),
    (("compress", "config.json"), "is a model's config; name the folder"),
    (("compress", "adapter_config.json"), "is a model's config; name the folder"),
    (("compress", "model_index.json"), "is a model's config; name the folder"),
    (("compress", "booster.json"), "is a model of XGBoost; trees"),
    (("compress", "MODEL", "--base", "texts.tx"), "--base: texts.tx: no such file or folder; near"),
    (("compress", "MODEL", "--base", "MODEL", "--train", "texts.txt"), "does not go with train"),
    (("compress", "MODEL", "--memory", "8GB"), "memory (--memory): goes with calibration data"),
    (("compress", "MODEL", "--scratch", "."), "scratch (--scratch): goes with calibration data"),
    (("compress", "MODEL", "--device", "cuda"), "device (--device): goes with calibration data"),
    (("compress", "MODEL", "--no-finish"), "finish (--no-finish): nothing is tuned without"),
    (
        ("compress", "MODEL", "--bits", "3", "--output-kind", "features"),
        "output (--output-kind): goes with calibration data",
    ),
    (("compress", "MODEL", "--output-kind", "xyz"), '"xyz" is none of auto, logits'),
    (("compress", "MODEL", "--no-fold"), "fold (--no-fold): batch norms are folded only where"),
    (("compress", "MODEL", "-o", "MODEL"), "is the model to compress"),
    (("compress", "MODEL", "-o", "x.zip"), ".zip is the name of another format"),
    (("compress", "MODEL", "--ray", "local", "--shard-size", "0"), "is no size in bytes"),
    (("compress", "build.py:model", "--bits", "3", "--calib", "build.py:no"), 'has no "no"'),
    (("compress", "build.py:model", "--bits", "3", "--train", "build.py:no"), 'has no "no"'),
    (("compress", "build.py:model", "--calib", "texts.txt"), "give bits, size or max_drop"),
    (("compress", "build.py:model", "--train", "build.py:model"), "give bits, size or max_drop"),
    (
        ("compress", "build.py:model", "--bits", "3", "--max-drop", "1%", "--score", "build.py:no"),
        "max_drop (--max-drop): goes with calibration data",
    ),
    (
        ("compress", "build.py:model", "--bits", "3", "--train", "build.py:batches", "--lr", "-1"),
        "lr: -1.0 cannot be",
    ),
    (("plan", "MODEL", "--size", "8"), "8x?"),
    (("frontier", "MODEL", "--sizes", "8x,4"), "4x?"),
    (("frontier", "MODEL", "--calib", "config.json"), "a model's config"),
    (("eval", "eval.json", "--calib", "texts.txt"), "what taut eval --json printed"),
    (("analyze", "plan.yaml"), "is a plan"),
    (("compress", "MODEL", "--bits", "3", "--calib", "texts.txt"), "holds weights alone"),
    (("demo", "-o", "plan.yaml"), "plan.yaml: is a file; name a folder"),
    (("verify", "config.json"), "is a model's config"),
    (("diff", "MODEL", "tokenizer.json"), "is a tokenizer"),
    (("view", "plan.yaml"), "is a plan; give it to --plan"),
    (("compress", "MODEL", "--plan", "MODEL"), "is a model (safetensors), and no plan"),
    (("compress", "MODEL", "--shard-size", "5", "-o", "x"), "5GB?"),
    (("info", "plan.yaml"), "is a plan; give it to --plan"),
    (("decompress", "config.json"), "is a model's config"),
    (("report", "MODEL", "--frontier", "eval.json"), "give it to taut report --score"),
]
FILES = {
    "build.py": "def model(): ...\ndef batches(): return [(1, 2)]\n",
    "texts.txt": "a\nb\n",
    "plan.yaml": "taut: 1\nrules:\n- {match: '*', scheme: rd}\n",
    "eval.json": json.dumps({"model": {}, "original": None, "paired": [], "fidelity": None}),
    "tokenizer.json": json.dumps({"version": "1.0", "added_tokens": [], "model": {}}),
    "m.index.json": json.dumps({"metadata": {}, "weight_map": {}}),
    "config.json": json.dumps({"model_type": "bert"}),
    "adapter_config.json": json.dumps({"peft_type": "LORA", "r": 8}),
    "model_index.json": json.dumps({"_class_name": "StableDiffusionPipeline"}),
    "booster.json": json.dumps({"learner": {}, "version": [2, 0, 0]}),
}


@pytest.mark.parametrize(("words", "told"), WRONG, ids=lambda one: " ".join(one)[:40])
def test_a_wrong_option_is_a_line_and_exit_code_2(run, model, monkeypatch, words, told):
    monkeypatch.chdir(model.parent)
    for name, text in FILES.items():
        (model.parent / name).write_text(text)
    before = sorted(model.parent.iterdir())
    result = run(*(model.name if word == "MODEL" else word for word in words))
    assert (result.exit_code, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1
    assert told in result.stderr
    assert sorted(model.parent.iterdir()) == before


def test_a_second_run_to_one_name_is_told_a_free_one(run, model):
    first = run("compress", model)
    assert f"output     {model.with_name('net.taut.safetensors')}    (-o names another)" in (
        first.stderr
    )
    again = run("compress", model, "--bits", "8")
    assert again.exit_code == 2
    suggested = model.with_name("net.8bits.taut.safetensors")
    assert f"-o {suggested} to keep both" in again.stderr
    assert run("compress", model, "--bits", "8", "-o", suggested).exit_code == 0
    assert free_name(model.with_name("net.taut.safetensors"), "8bits").name == (
        "net.8bits.2.taut.safetensors"
    )


@pytest.mark.parametrize("command", ["bench", "compress", "frontier"])
def test_a_taut_file_as_the_original_is_told_as_one(run, model, command):
    run("compress", model, "-q")
    result = run(command, model.with_name("net.taut.safetensors"))
    assert (result.exit_code, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1
    assert "is a Taut file already" in result.stderr


def test_the_model_itself_is_no_output_to_be_replaced(run, model):
    result = run("compress", model, "-o", model)
    assert result.exit_code == 2
    assert "is the model to compress" in result.stderr and "-f" not in result.stderr


def test_what_comes_back_beside_the_original_is_told_a_free_name(run, model):
    run("compress", model, "-q")
    result = run("decompress", model.with_name("net.taut.safetensors"))
    assert result.exit_code == 2
    assert f"-o {model.with_name('net.2.safetensors')} to keep both" in result.stderr


def test_what_commands_print_is_known_by_what_it_is(run, model, tmp_path):
    run("compress", model, "-q")
    made = model.with_name("net.taut.safetensors")
    for name, words in {
        "info": ("info", made, "--json"),
        "analysis": ("analyze", model, "--json"),
        "frontier": ("frontier", model, "--bits", "4", "--schemes", "none", "--json"),
        "export": ("export", made, tmp_path / "plain.safetensors", "--json"),
    }.items():
        path = tmp_path / f"{name}.json"
        path.write_text(run(*words).stdout)
        found = kind_of(path)
        assert found is not None and found.name == name
    assert len({kind.name for kind in KINDS}) == len(KINDS)
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "tabs.yaml").write_text("a:\n\t- b")
    for name in ("broken.json", "list.json", "tabs.yaml"):
        assert kind_of(tmp_path / name) is None
