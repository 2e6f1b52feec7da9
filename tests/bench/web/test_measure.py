"""What is asked of the page's benchmark wrongly is refused before anything is made."""

from __future__ import annotations

import pytest

from bench.web.measure import main


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--ways", "int8, brotli", "UNKNOWN"], 'no way "UNKNOWN"; there are: float32; float16; '),
        (["--ways", "small, onnxruntime", "--encoder", "other=FILE"], "other; other, onnxruntime"),
        (["--encoder", "other"], "no NAME=FILE"),
        (["--encoder", "=FILE"], "no NAME=FILE"),
        (["--encoder", "other=none"], "there is no none"),
        (["--encoder", "float16=FILE"], "the name of another way"),
    ],
)
def test_wrong_ways_are_refused_at_once(arguments, said, tmp_path, monkeypatch, capsys):
    path = tmp_path / "a.taut.safetensors"
    path.touch()
    monkeypatch.setattr("bench.web.measure._rows", lambda *_: pytest.fail("it has begun"))
    with pytest.raises(SystemExit) as stopped:
        main([one.replace("FILE", str(path)) for one in arguments])
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err
