"""A row carried out: calls that can be made, and ratios of what they say."""

import pytest

torch = pytest.importorskip("torch")

import taut  # noqa: E402
from bench.classics.nets import LeNet5, LeNet300100  # noqa: E402
from bench.classics.rows import ROWS, Row  # noqa: E402
from bench.classics.run import call_of, measured, scaled  # noqa: E402
from bench.classics.speed import times_as_fast  # noqa: E402
from taut.errors import TargetError  # noqa: E402
from taut.io import open_source  # noqa: E402
from taut.planning import resolve  # noqa: E402


def lossless(src, dst, *, seed, threads, force, **ignored):
    return taut.compress(src, dst, seed=seed, threads=threads, force=force)


def test_ratios_are_of_parameters_in_float32_over_bytes_on_disk(tiny, tmp_path):
    row = Row("r", "tiny", None)
    run = measured(row, tiny, 0, lossless, files=tmp_path)
    nbytes = (tmp_path / "r-0.taut.safetensors").stat().st_size
    assert run["bytes"] == nbytes
    assert run["ratio"] == 4 * (72 + 2) / nbytes and run["ratio_to_file"] == 500 / nbytes
    assert run["error_before"] == run["error_after"] == 50.0 and run["lost"] == 0


def test_error_counts_wrong_images_and_a_file_is_judged_as_it_reads_back(tiny, tmp_path):
    def broken(src, dst, **more):
        weights = torch.zeros(2, 36)
        weights[1] = 1.0  # every image but the black one becomes class 1
        src.load_state_dict({"1.weight": weights, "1.bias": torch.tensor([1e-6, 0.0])})
        return lossless(src, dst, **more)

    run = measured(Row("r", "tiny", None), tiny, 0, broken)
    assert run["error_after"] == pytest.approx(100 * 19 / 40) and run["lost"] == pytest.approx(-2.5)


def test_a_target_not_met_is_a_row_that_says_so(tiny):
    def fails(*given, **more):
        raise TargetError("300 bytes cannot be met")

    run = measured(Row("r", "tiny", None, 120), tiny, 0, fails)
    assert run["error"] == "TargetError: 300 bytes cannot be met" and "bytes" not in run


def test_a_size_is_asked_in_bytes_of_the_parameters(tiny):
    assert call_of(Row("r", "tiny", None, 7), tiny, None, 0)["size"] == 296 // 7
    assert "size" not in call_of(Row("r", "tiny", None), tiny, None, 0)


def test_rows_without_training_get_images_alone(tiny):
    call = call_of(Row("r", "tiny", None, 7, batch=16), tiny, None, 0)
    assert [len(x) for x in call["calib"]] == [16, 16, 8] and "train" not in call


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_is_a_call_that_can_be_made(row, tiny):
    call = call_of(row, tiny, row.training, 1)
    assert ("train" in call) != ("calib" in call)
    if row.training is None:
        return
    made = call["train"].training
    assert made.epochs == row.training["epochs"] and made.lr == row.training["lr"]
    for part in ("mask", "distill"):
        told, is_made = row.training[part], getattr(made, part)
        assert (told is None) == (is_made is None)
        assert all(getattr(is_made, key) == value for key, value in (told or {}).items())


@pytest.mark.parametrize(
    "row", [row for row in ROWS if len(row.rules) > 1], ids=lambda row: row.name
)
def test_rules_say_of_every_tensor_how_it_is_stored(row, tiny):
    network = LeNet300100() if row.task == "lenet300" else LeNet5()
    if row.task == "resnet20":
        network = pytest.importorskip("bench.subjects.images", exc_type=ImportError).Network()
    source = open_source(network)
    found = resolve(call_of(row, tiny, row.training, 0)["plan"], source.infos, source.aliases)
    kinds = {name: str(one.scheme) for name, one in found.items()}
    middle = next(scheme for match, scheme in row.rules if match == "*")
    matrices = {name for name, one in network.named_parameters() if one.ndim > 1}
    ends = {match: scheme for match, scheme in row.rules if match != "*"}
    assert {name for name in kinds if kinds[name] == middle} == matrices - ends.keys()
    assert {name: kinds[name] for name in ends} == ends
    assert {kinds[name] for name in kinds.keys() - matrices} == {"fp16"}


def test_only_the_taught_narrow_network_has_the_original_as_teacher(tiny):
    given = {row.name: call_of(row, tiny, row.training, 0) for row in ROWS}
    assert [name for name, call in given.items() if "teacher" in call] == ["resnet20-narrow-taught"]


def test_narrow_networks_start_alike_from_a_seed_and_keep_their_own_shape(tiny):
    started = []

    def work(src, dst, **more):
        started.append(src[1].weight.detach().clone())
        return lossless(src, dst, **more)

    row = Row("r", "tiny", None, network="narrow")
    runs = [measured(row, tiny, seed, work) for seed in (0, 0, 1)]
    assert started[0].equal(started[1]) and not started[0].equal(started[2])
    assert runs[0]["error_after"] == runs[1]["error_after"]


def test_quick_rows_train_a_quarter_but_never_nothing():
    assert scaled({"epochs": 40}, True) == {"epochs": 10}
    assert scaled({"epochs": 40}, False) == {"epochs": 40}
    assert scaled({"epochs": 3}, True) == {"epochs": 1} and scaled(None, True) is None


def test_two_networks_are_timed_in_turns():
    turns = []

    class Called(torch.nn.Module):
        def forward(self, x):
            turns.append((id(self), len(x)))
            return x

    before, after = Called(), Called()
    found = times_as_fast(before, after, torch.zeros(8, 3), repeats=2)
    both = [id(before), id(after)]
    assert turns == [(one, size) for size in (1, 8) for one in both * 3]
    assert found.keys() == {"1", "8"}
