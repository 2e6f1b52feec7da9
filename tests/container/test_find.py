"""Which Taut file a path means."""

from __future__ import annotations

import pytest

from taut.container.find import find_file
from taut.errors import ArgumentError


def test_a_file_is_itself_whatever_it_is_called(tmp_path):
    (tmp_path / "x").touch()
    assert find_file(str(tmp_path / "x")) == tmp_path / "x"


def test_a_folder_means_the_one_taut_file_in_it(tmp_path):
    (tmp_path / "config.json").touch()
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ArgumentError, match="here: none"):
        find_file(tmp_path)
    (tmp_path / "net.taut.safetensors").touch()
    assert find_file(tmp_path) == tmp_path / "net.taut.safetensors"
    (tmp_path / "a.taut.safetensors").touch()
    with pytest.raises(ArgumentError, match=r"here: a\.taut\.safetensors, net\.taut\.safetensors"):
        find_file(tmp_path)


def test_what_is_not_there_is_told(tmp_path):
    with pytest.raises(ArgumentError, match="nowhere: no such file or folder"):
        find_file(tmp_path / "nowhere")
