"""`taut report`: a file in, a page out."""

import json

import pytest


@pytest.fixture
def small(run, model):
    out = model.with_name("net.taut.safetensors")
    assert run("compress", model, "-o", out, "--bits", 3, "-q").exit_code == 0
    return out


def test_the_page_stands_beside_the_file(run, model, small):
    done = run("report", small, "--original", model)
    assert (done.exit_code, done.stdout) == (0, "")
    page = small.with_name("net.html")
    assert f"wrote      {page}" in done.stderr
    text = page.read_text(encoding="utf-8")
    assert "<title>net: " in text and "Distributions" in text


def test_the_original_may_be_a_module_that_a_function_gives(run, tmp_path):
    pytest.importorskip("torch")
    text = "import torch\ndef net():\n    return torch.nn.Linear(64, 64)\n"
    (tmp_path / "build.py").write_text(text)
    network = f"{tmp_path / 'build.py'}:net"
    small = tmp_path / "net.taut.safetensors"
    assert run("compress", network, "-o", small, "--bits", 4, "-q").exit_code == 0
    assert run("report", small, "--original", network, "-q").exit_code == 0
    assert "Distributions" in (tmp_path / "net.html").read_text(encoding="utf-8")


def test_the_page_of_a_folder_stands_beside_the_folder(run, small, tmp_path, monkeypatch):
    folder = tmp_path / "net-taut"
    folder.mkdir()
    small.rename(folder / "model.taut.safetensors")
    monkeypatch.chdir(folder)
    assert run("report", ".", "-q").exit_code == 0
    text = (tmp_path / "net-taut.html").read_text(encoding="utf-8")
    assert "<title>net-taut: " in text


def test_charts_come_as_files_too_and_json_names_them(run, small, tmp_path):
    done = run(
        *("report", small, "-o", tmp_path / "r.html", "--charts", tmp_path / "charts", "--json"),
        *("--title", "A <title>", "-q"),
    )
    assert (done.exit_code, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["page"] == str(tmp_path / "r.html")
    assert found["size"] == (tmp_path / "r.html").stat().st_size
    names = {path.rpartition("/")[2] for path in found["charts"]}
    assert {"bytes.svg", "bytes.png", "values-1.svg", "values-1.png"} <= names
    assert "<title>A &lt;title&gt;: " in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_what_exists_is_kept_and_told_before_any_work(run, small, tmp_path):
    page = small.with_name("net.html")
    page.write_text("mine")
    done = run("report", small, "--original", tmp_path / "none")
    assert (done.exit_code, page.read_text()) == (2, "mine")
    assert "net.html: exists; give -f" in done.stderr
    assert run("report", small, "-f", "-q").exit_code == 0
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_wrong_json_is_an_error_that_names_it(run, small, tmp_path):
    (tmp_path / "e.json").write_text('{"error": "out of memory", "kind": "MemoryError"}')
    done = run("report", small, "--score", tmp_path / "e.json")
    assert done.exit_code == 2
    assert "e.json: is no Evaluation" in done.stderr
    assert not small.with_name("net.html").exists()


def test_two_files_are_compared_on_one_page(run, model, small, tmp_path):
    other = small.with_name("four.taut.safetensors")
    assert run("compress", model, "-o", other, "--bits", 4, "-q").exit_code == 0
    assert run("report", small, other, "-q").exit_code == 0
    text = small.with_name("net-four.html").read_text(encoding="utf-8")
    assert "four is " in text and "larger than net" in text
    alone = run("report", small, other, "--original", model, "-f")
    assert alone.exit_code == 2 and "--original: is for a report on one file" in alone.stderr
    twice = run("report", small, "--score", "a.json", "--score", "b.json", "-o", tmp_path / "r")
    assert twice.exit_code == 2 and "--score: twice is for two files" in twice.stderr


def test_the_page_names_its_command_without_paths(run, small, monkeypatch):
    monkeypatch.setattr("sys.argv", ["taut", "report", str(small), "-q"])
    assert run("report", small, "-q").exit_code == 0
    text = small.with_name("net.html").read_text(encoding="utf-8")
    assert "<code>taut report net.taut.safetensors <b>-q</b></code>" in text
    assert str(small.parent) not in text and " UTC</dd>" in text
