"""The check of exports in real clients: what is pinned, what is not installed, what agrees."""

from __future__ import annotations

import sys

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from bench.clients.answers import Answer, judged
from bench.clients.check import main
from bench.clients.exports import Export
from bench.clients.install import clients
from bench.clients.models import ClientModel


def test_every_client_has_exact_versions_and_a_program_that_asks_it(tmp_path):
    found = clients(tmp_path)
    assert {"llama", "llama-node", "vllm", "openvino", "transformers-js"} <= {c.name for c in found}
    for client in found:
        assert client.runs.is_file()
        versions = [*(one.partition("==")[2] for one in client.pip if one != "numpy")]
        versions += [one.rpartition("@")[2] for one in client.npm]
        assert versions and all(version[0].isdigit() for version in versions), client.name


def test_what_is_not_installed_is_told_and_costs_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["check", "--home", str(tmp_path), "--client", "openvino"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert "| openvino |  |  | not installed (--install openvino) |" in capsys.readouterr().out
    (tmp_path / "openvino").mkdir()
    (tmp_path / "openvino" / "ready").write_text("openvino==1")
    other = next(client for client in clients(tmp_path) if client.name == "openvino")
    assert other.missing.startswith("installed in other versions")


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (Answer("it", logprobs=[[-1.0, -2.0]]), "holds"),
        (Answer("it", logprobs=[[-1.1, -2.1]]), "differs"),  # all a tenth less likely
        (Answer("it", tokens=[[1, 2]], logprobs=[[-1.0, -2.0]]), "differs"),
        (Answer("it", embeddings=[[1.0, 2.0]]), "holds"),
        (Answer("it", embeddings=[[2.0, 1.0]]), "differs"),
    ],
)
def test_answers_hold_within_their_bounds(tmp_path, found, verdict):
    wanted = Answer("PyTorch", [[1, 3]], logprobs=[[-1.0, -2.0]], embeddings=[[1.0, 2.0]])
    export = Export(ClientModel("m", tmp_path, embeds=False), "x", tmp_path, tmp_path)
    assert judged(found, wanted, export)[0] == verdict
