"""What lies beside a file of the user's can be imported while its functions run, and only then."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import taut
from taut.networks.callables import load_callable, load_named

torch = pytest.importorskip("torch")
Code = Callable[..., Path]

BUILD = """
    def model():
        from beside_net import Net
        return Net(8, 128)
    def batches():
        import torch
        for _ in range(10):
            from beside_net import Net
            yield torch.ones(4, 8) * Net.scale
    def score(model):
        from beside_net import Net
        assert isinstance(model, Net)
        return 1.0
    def loss(output, batch):
        from beside_pack.inner import square
        return square(output)
    def fit(model, loss):
        from beside_pack.inner import square
        for x in batches():
            loss(square(model(x)).mean()).backward()
"""
NET = """
    import torch
    class Net(torch.nn.Linear):
        scale = 2.0
        def forward(self, x):
            from beside_pack.inner import square
            return super().forward(x) + 0 * square(x).sum()
"""


@pytest.fixture
def build(code: Code, tmp_path: Path) -> Iterator[Path]:
    before, path = set(sys.modules), list(sys.path)
    (tmp_path / "beside_pack").mkdir()
    code("", "beside_pack/__init__.py")
    code("def square(x): return x * x", "beside_pack/inner.py")
    code(NET, "beside_net.py")
    yield code(BUILD)
    assert sys.path == path
    assert not {name for name in set(sys.modules) - before if name.startswith("beside_")}


def test_every_door_of_a_verb(build: Path, tmp_path: Path) -> None:
    score, loss = load_callable(f"{build}:score"), load_callable(f"{build}:loss")
    spec, data = f"{build}:model", f"{build}:batches"
    out = tmp_path / "o"
    done = taut.compress(spec, out, bits=8, calib=data, score=score, loss=loss, max_drop=0.5)  # type: ignore[arg-type]
    assert done.score == 1
    taut.compress(spec, out, bits=8, train=f"{build}:fit", force=True)
    assert taut.evaluate(out, score, original=spec).model.scores is not None  # type: ignore[arg-type]
    assert taut.analyze(spec, data, measure=True, score=score).measured is not None  # type: ignore[arg-type]
    assert taut.export(out, tmp_path / "o.safetensors").size


def test_functions_that_are_called_by_themselves(build: Path) -> None:
    net = load_callable(f"{build}:model")()
    assert load_callable(f"{build}:score")(net) == 1  # the same class, imported once
    steps = load_callable(f"{build}:batches")()
    assert len(list(steps)) == 10  # type: ignore[call-overload]


def test_two_folders_have_a_helper_of_one_name(code: Code, tmp_path: Path) -> None:
    specs = []
    for number in (1, 2):
        (tmp_path / f"side{number}").mkdir()
        code(f"VALUE = {number}", f"side{number}/beside_net.py")
        text = "import beside_net\ndef f():\n    import beside_net as n\n    return n.VALUE"
        specs.append(f"{code(text, f'side{number}/build.py')}:f")
    first, second = map(load_callable, specs)
    assert [first(), second(), first(), second()] == [1, 2, 1, 2]


def test_what_the_caller_has_imported_stays(
    code: Code, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    code("VALUE = 'mine'", "elsewhere/beside_mine.py")
    monkeypatch.syspath_prepend(elsewhere)
    import beside_mine  # type: ignore[import-not-found]

    code("VALUE = 'beside'", "beside_mine.py")
    path = code("import beside_mine, json\nVALUE = beside_mine.VALUE\nTEXT = json.dumps(1)")
    assert load_named(f"{path}:VALUE") == "beside"
    assert sys.modules["beside_mine"] is beside_mine and beside_mine.VALUE == "mine"
    same = code("import beside_mine\nMODULE = beside_mine", "elsewhere/build.py")
    assert load_named(f"{same}:MODULE") is beside_mine
    assert sys.modules.pop("beside_mine") is beside_mine
