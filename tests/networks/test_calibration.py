"""Batches from texts, arrays, code and memory: what they hold, and what is refused."""

import itertools
import pickle
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from taut.errors import ArgumentError
from taut.networks import LoadedModel, open_calibration, open_model, run_batch

torch = pytest.importorskip("torch")

LINES = ["the cat sat on the mat", "a dog", "ran", "the dog ran far far away and home", "cat"]


@pytest.fixture
def linear() -> LoadedModel:
    """A map of 3 numbers to 2, without a tokenizer."""
    torch.manual_seed(0)
    return open_model(torch.nn.Linear(3, 2))


class _Anything(torch.nn.Sequential):
    def forward(self, *values: object, **named: object) -> None:
        return None


@pytest.fixture
def anything() -> LoadedModel:
    """A model that takes whatever it is given."""
    return open_model(_Anything(torch.nn.Linear(1, 1)))


def test_texts_are_batched_by_length(bert_folder: Path, tmp_path: Path) -> None:
    model = open_model(bert_folder)
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(LINES))
    found = open_calibration(path, model, batch_size=2, max_length=7)
    assert (len(found), found.samples) == (3, 5)
    lengths = [batch["attention_mask"].sum(1).tolist() for batch in found]  # type: ignore[index]
    assert lengths == [[1, 1], [2, 6], [7]]
    assert [list(batch["input_ids"].shape) for batch in found] == [[2, 1], [2, 6], [1, 7]]  # type: ignore[index]
    same = open_calibration(LINES, model, batch_size=2, max_length=7)
    assert same.digest == found.digest
    assert open_calibration(path, model, batch_size=2, limit=3).samples == 3


def test_texts_for_gpt2_are_padded_with_any_token(gpt2_folder: Path, bert_folder: Path) -> None:
    from taut.networks.tokens import wrap_tokenizer

    tokenize = open_model(bert_folder).tokenize
    tokenizer = tokenize.tokenizer  # type: ignore[union-attr]
    tokenizer.pad_token = None
    batch = wrap_tokenizer(tokenizer, open_model(gpt2_folder).module, 16)(["the", "the cat"])
    assert batch["attention_mask"].tolist() == [[1, 0], [1, 1]]


def test_one_array_is_the_argument(linear: LoadedModel, tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(10, 3))
    np.savez(tmp_path / "x.npz", anything=values)
    found = open_calibration(tmp_path / "x.npz", linear, batch_size=4)
    assert [batch.shape[0] for batch in found] == [4, 4, 2]  # type: ignore[attr-defined]
    assert {batch.dtype for batch in found} == {torch.float32}  # type: ignore[attr-defined]
    assert torch.equal(torch.cat(list(found)), torch.from_numpy(values).float())  # type: ignore[arg-type]
    assert open_calibration(tmp_path / "x.npz", linear, batch_size=4, limit=5).samples == 5


def test_several_arrays_are_keyword_arguments(bert_folder: Path, tmp_path: Path) -> None:
    ids = np.arange(12).reshape(3, 4)
    np.savez(tmp_path / "x.npz", input_ids=ids, attention_mask=np.ones((3, 4), np.int64))
    found = open_calibration(str(tmp_path / "x.npz"), open_model(bert_folder), batch_size=2)
    assert [sorted(batch) for batch in found] == [["attention_mask", "input_ids"]] * 2  # type: ignore[call-overload]
    assert [batch["input_ids"].tolist() for batch in found] == [ids[:2].tolist(), ids[2:].tolist()]  # type: ignore[index]


def test_code_is_called_for_each_pass(resnet: Path) -> None:
    model = open_model(f"{resnet}:model")
    found = open_calibration(f"{resnet}:batches", model)
    assert (len(found), found.samples) == (4, 20)
    passes = [torch.cat(list(found)) for _ in range(2)]  # type: ignore[arg-type]
    assert torch.equal(*passes)
    assert open_calibration(f"{resnet}:batches", model, limit=7).samples == 10


def test_generators_are_kept_and_lists_are_as_given(linear: LoadedModel) -> None:
    batches = [torch.full((2, 3), float(i)) for i in range(3)]
    found = open_calibration((batch for batch in batches), linear)
    assert [batch is given for batch, given in zip(found, batches, strict=True)] == [True] * 3
    assert len(list(found)) == 3
    endless = (torch.ones(2, 3) for _ in itertools.count())
    assert len(open_calibration(endless, linear, limit=5)) == 3


def test_tuples_and_dicts(linear: LoadedModel) -> None:
    x = torch.ones(4, 3)
    for batch in (x, (x,), [x], {"input": x}):
        found = open_calibration([batch], linear)
        assert (len(found), found.samples) == (1, 4)
        result = run_batch(linear.module, batch)
        assert torch.equal(result, linear.module(x))  # type: ignore[arg-type]


def test_the_digest_is_of_all_that_is_in_it(anything: LoadedModel) -> None:
    x = torch.arange(6.0).reshape(2, 3)
    base = open_calibration([x, x], anything).digest
    assert open_calibration([x.clone(), x.numpy()], anything).digest == base
    others: list[list[object]] = [[x], [x, x + 1], [x, x.double()], [x, (x,)], [x, {"input": x}]]
    assert len({base, *(open_calibration(other, anything).digest for other in others)}) == 6


class _Scene:
    def __init__(self, points: "torch.Tensor") -> None:
        self.points = points


def test_objects_of_the_user_count_by_what_they_hold(anything: LoadedModel) -> None:
    scenes = [_Scene(torch.full((2,), value)) for value in (1.0, 1.0, 2.0)]
    digests = [open_calibration([scene], anything).digest for scene in scenes]
    assert digests[0] == digests[1] != digests[2]
    with pytest.raises(ArgumentError, match="calib: batch 1: has a object in it"):
        open_calibration([object()], anything)
    loop = _Scene(torch.ones(1))
    loop.points = loop  # type: ignore[assignment]
    with pytest.raises(ArgumentError, match="has a _Scene in it"):
        open_calibration([loop], anything)


def test_a_function_that_gives_less_the_second_time(linear: LoadedModel) -> None:
    used = iter([torch.ones(1, 3), torch.ones(1, 3)])
    found = open_calibration(lambda: used, linear)
    assert len(found) == 2
    with pytest.raises(ArgumentError, match="calib: gave 0 batches, 2 the first time"):
        list(found)


def _fails() -> Iterator[object]:
    yield torch.ones(2, 3)
    raise KeyError("pixels")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ([], "calib: has no batches"),
        (lambda: [], "calib: has no batches"),
        (lambda: None, "calib: gave a NoneType; it must give an iterable of batches"),
        (lambda: torch.ones(2, 3), "calib: gave a Tensor; it must give an iterable"),
        (_fails, "calib: failed in line"),
        (torch.ones(2, 3), "calib: a Tensor is one batch; give a list of batches: [batch]"),
        ({"input": torch.ones(2, 3)}, "calib: a dict is one batch"),
        (np.ones((2, 3)), "calib: a ndarray is one batch"),
        (3, "calib: a int is none of texts (.txt, .jsonl,"),
        ("texts.csv", "texts.csv: calibration data are texts (.txt,"),
        ("texts.txt", "texts want a tokenizer, and the model has none"),
        ([torch.ones(2, 4)], "calib: batch 1: the model rejects it: "),
        ([torch.ones(2, 4)], "(the batch is float32 [2, 4])"),
        ([{"inputs": torch.ones(2, 3)}], "(the batch is {inputs: float32 [2, 3]})"),
        ([(torch.ones(2, 4), torch.ones(2))], "(float32 [2, 4], float32 [2])"),
    ],
)
def test_mistakes_are_named(linear: LoadedModel, spec: object, message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        open_calibration(spec, linear)  # type: ignore[arg-type]
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.ones((0, 3))}, "has no samples"),
        ({}, "has no samples"),
        ({"x": np.ones((2, 3)), "y": np.ones(3)}, "differ in their number of samples (x: 2, y: 3)"),
        ({"x": np.array([{}, 3], object)}, 'array "x" holds Python objects; save plain numbers'),
        ({"x": np.array(["a", "b"])}, 'array "x" is <U1; save numbers'),
        ({"x": np.float32(3)}, 'array "x" is a lone number'),
        ({"x": np.ones((2, 5))}, "x.npz: batch 1: the model rejects it"),
    ],
)
def test_arrays_that_will_not_do(
    linear: LoadedModel, tmp_path: Path, arrays: dict[str, np.ndarray], message: str
) -> None:
    np.savez(tmp_path / "x.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError) as caught:
        open_calibration(tmp_path / "x.npz", linear)
    assert message in str(caught.value)


def test_files_that_are_not_what_they_say(linear: LoadedModel, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.ones((2, 3)))
    with pytest.raises(ArgumentError, match=r"no such file; nearest: x\.npz"):
        open_calibration(tmp_path / "xx.npz", linear)
    data = (tmp_path / "x.npz").read_bytes()
    (tmp_path / "x.npz").write_bytes(data[:-30])
    with pytest.raises(ArgumentError, match=r"x\.npz: cannot be read"):
        open_calibration(tmp_path / "x.npz", linear)
    for no_archive in (b"", b"no archive", pickle.dumps([1])):
        (tmp_path / "x.npz").write_bytes(no_archive)
        with pytest.raises(ArgumentError, match=r"x\.npz: is no archive of arrays"):
            open_calibration(tmp_path / "x.npz", linear)
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x", "no array")
    with pytest.raises(ArgumentError, match=r'array "x" cannot be read'):
        open_calibration(tmp_path / "x.npz", linear)
    with (tmp_path / "bare.npz").open("wb") as file:
        np.save(file, np.ones((2, 3)))
    with pytest.raises(ArgumentError, match=r"holds one bare array; save it with numpy\.savez"):
        open_calibration(tmp_path / "bare.npz", linear)


@pytest.mark.parametrize("option", [{"batch_size": 0}, {"max_length": 0}, {"limit": -1}])
def test_counts_are_at_least_one(linear: LoadedModel, option: dict[str, int]) -> None:
    with pytest.raises(ArgumentError, match="is less than 1"):
        open_calibration([torch.ones(1, 3)], linear, **option)


def test_code_that_is_missing(linear: LoadedModel, code: Callable[..., Path]) -> None:
    path = code("def batches(): yield from ()")
    with pytest.raises(ArgumentError, match='has no "batch"; nearest: batches'):
        open_calibration(f"{path}:batch", linear)
    with pytest.raises(ArgumentError, match="has no batches"):
        open_calibration(f"{path}:batches", linear)
