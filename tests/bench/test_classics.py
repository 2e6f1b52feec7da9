"""The classic tables: batches that repeat, ratios of what they say, and honest sums over seeds."""

from dataclasses import replace
from itertools import pairwise

import pytest

torch = pytest.importorskip("torch")

import report  # noqa: E402
import taut  # noqa: E402
from classics import chosen, main, put  # noqa: E402
from classics_data import Batches, Split, Task, moved, task  # noqa: E402
from classics_field import FIELD, Published  # noqa: E402
from classics_rows import ROWS, TABLES, Row  # noqa: E402
from classics_run import call_of, measured, scaled  # noqa: E402
from classics_speed import times_as_fast  # noqa: E402
from classics_table import line_of, met, published, tables  # noqa: E402
from nets import LeNet5, LeNet300100  # noqa: E402
from taut.errors import TargetError  # noqa: E402
from taut.io import open_source  # noqa: E402
from taut.planning import resolve  # noqa: E402

IMAGES = 40


def linear() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 2))


def narrow(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    return linear()


@pytest.fixture
def tiny() -> Task:
    """Images of which every pixel is the image's number; odd ones are of class 1."""
    numbers = torch.arange(IMAGES)
    images = numbers.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 6, 6)
    split = Split(images, numbers % 2)
    weights = {"1.weight": torch.zeros(2, 36), "1.bias": torch.tensor([1.0, 0.0])}
    plain = torch.zeros(1, 1, 1), torch.ones(1, 1, 1)
    return Task("tiny", "tiny", linear, weights, split, split, *plain, 500, narrow)


def lossless(src, dst, *, seed, threads, force, **ignored):
    return taut.compress(src, dst, seed=seed, threads=threads, force=force)


def numbers(batches) -> list[list[int]]:
    return [[round(255 * float(one.mean())) for one in x] for x, _ in batches]


def test_batches_follow_from_their_seed_and_epochs_differ(tiny):
    one, same, other = (Batches(tiny, 16, seed=seed) for seed in (3, 3, 4))
    epochs = [numbers(one()) for _ in range(3)]
    assert epochs == [numbers(same()) for _ in range(3)]
    assert all(a != b for a, b in pairwise(epochs)) and epochs[0] != numbers(other())


def test_an_epoch_left_early_changes_no_later_one(tiny):
    left, whole = Batches(tiny, 8, shift=2, flip=True), Batches(tiny, 8, shift=2, flip=True)
    next(iter(left()))
    list(whole())
    assert all(a[0].equal(b[0]) for a, b in zip(left(), whole(), strict=True))


def test_an_epoch_gives_each_image_once_with_its_label(tiny):
    epoch = Batches(tiny, 16)()
    seen = [n for batch in numbers(epoch) for n in batch]
    assert len(epoch) == 2 and len(set(seen)) == len(seen) == 32
    labels = [int(label) for _, y in epoch for label in y]
    assert labels == [n % 2 for n in seen]


def test_a_batch_larger_than_the_set_is_the_set(tiny):
    assert [len(y) for _, y in Batches(tiny, 1000)()] == [IMAGES]


def test_moved_images_are_crops_of_mirrored_borders():
    x = torch.arange(3 * 2 * 5 * 5).float().view(3, 2, 5, 5)
    padded = torch.nn.functional.pad(x, (2,) * 4, mode="reflect")
    found = moved(x, 2, False, torch.Generator().manual_seed(0))
    places = []
    for before, after in zip(padded, found, strict=True):
        crops = {(i, j): before[:, i : i + 5, j : j + 5] for i in range(5) for j in range(5)}
        places.append([place for place, crop in crops.items() if crop.equal(after)])
    assert all(len(place) == 1 for place in places) and len({p[0] for p in places}) > 1


def test_about_half_of_the_images_are_mirrored():
    x = torch.arange(6.0).expand(1000, 1, 1, 6)
    found = moved(x, 0, True, torch.Generator().manual_seed(0))
    mirrored = int(found[:, 0, 0, 0].eq(5).sum())
    assert 400 < mirrored < 600 and int(found[:, 0, 0, 0].eq(0).sum()) == 1000 - mirrored


def test_held_out_images_are_not_trained_on(tiny):
    held = tiny.held()
    seen, judged = ({int(i[0, 0, 0]) for i in s.images} for s in (held.train, held.test))
    assert len(judged) == IMAGES // 20 and not seen & judged and len(seen | judged) == IMAGES


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
        network = pytest.importorskip("images", exc_type=ImportError).Network()
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


ROW = Row("lenet300-120x", "lenet300", None, 120, error=1.6)


def run(seed: int = 0, after: float = 1.55, ratio: float = 121.0, **more) -> dict[str, object]:
    nbytes = round(1_066_440 / ratio)
    known = {"row": ROW.name, "seed": seed, "budget": "full", "epochs": 3, "seconds": 60.0}
    known |= {"bytes": nbytes, "ratio": ratio, "ratio_to_file": 1.01 * ratio}
    return known | {"error_before": 1.49, "error_after": after, "lost": after - 1.49} | more


def test_what_is_asked_is_met_by_size_and_error_together():
    assert met(ROW, run()) and met(ROW, run(after=1.6, ratio=120.0))
    assert not met(ROW, run(after=1.61)) and not met(ROW, run(ratio=119.9))
    lost = replace(ROW, error=None, lost=0.5)
    assert met(lost, run(after=1.99)) and not met(lost, run(after=2.0))


def test_a_line_is_the_mean_of_its_seeds_with_the_least_and_the_most():
    line = line_of(ROW, [run(0, 1.5), run(1, 1.6), run(2, 1.7)])
    assert line["after"] == "1.60 (1.50 to 1.70)" and line["met"] == "2 of 3"
    assert line["bytes"] == "8,814" and line["ratio"] == "121.0x" and line["from"] == "3 seeds"


def test_a_failed_seed_is_counted_and_not_averaged():
    failed = {"row": ROW.name, "seed": 1, "error": "TargetError: no"}
    line = line_of(ROW, [run(0, 1.5), failed])
    assert line["after"] == "1.50" and line["met"] == "1 of 2"
    assert line["from"] == "seed 0, 1 failed"
    assert line_of(ROW, [failed])["from"] == "TargetError: no"


def test_the_field_stands_before_ours_under_the_same_title():
    lines = tables([run(budget="quick")]).splitlines()
    assert lines[0] == "### LeNet-300-100, MNIST"
    methods = [line.split("|")[1].strip() for line in lines[4:8]]
    assert methods == [*(p.method for p in FIELD[lines[0][4:]]), ROW.name]
    assert lines[7].split("|")[-2].strip() == "seed 0, quick"
    assert "LeNet-5" not in "".join(lines)  # nothing of it was measured


def test_counts_that_flatter_are_marked():
    point = Published("m", "s", None, 1.92, 68, counts="parameters")
    assert published(point)["ratio"] == "68x (parameters)" and published(point)["bytes"] is None


def test_latency_has_a_column_only_where_it_was_measured():
    line = {"row": "resnet20-half-channels", "faster": {"1": 1.234, "64": 1.5}}
    text = tables([run() | line])
    assert "times as fast (batch)" in text and "1.23 (1), 1.50 (64)" in text
    assert "times as fast" not in tables([run()])


def test_tables_hold_every_row_and_the_field_is_under_their_titles():
    names = [name for table in TABLES.values() for name in table]
    assert set(names) == {row.name for row in ROWS} and FIELD.keys() <= TABLES.keys()
    assert len({row.name for row in ROWS}) == len(ROWS)


def test_a_new_run_takes_the_place_of_its_seed_alone():
    rows = put(put([run(0), run(1)], run(1, after=9.0)), run(2))
    assert [(r["seed"], r["error_after"]) for r in rows] == [(0, 1.55), (1, 9.0), (2, 1.55)]


def test_rows_are_chosen_by_name_or_by_subject():
    assert [row.name for row in chosen(["lenet5-500x"], ["lenet300"])] == ["lenet5-500x"]
    assert {row.task for row in chosen([], ["lenet5"])} == {"lenet5"}


def test_an_update_keeps_what_was_measured_before(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    report.save("classics", [run()])
    main(["--show", "--threads", "1"])
    out = capsys.readouterr().out
    assert "1.55" in out and "Command: `python bench/" in out


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


def test_networks_have_the_parameters_of_the_literature():
    counts = [sum(p.numel() for p in n().parameters()) for n in (LeNet300100, LeNet5)]
    assert counts == [266_610, 431_080]


@pytest.mark.parametrize(("name", "error"), [("lenet300", 1.49), ("lenet5", 0.81)])
def test_trained_networks_err_as_their_weights_are_known_to(name, error):
    try:
        given = task(name)
    except RuntimeError as missing:
        pytest.skip(str(missing))
    assert given.error(given.trained()) == pytest.approx(error, abs=0.015)


def test_the_narrow_network_is_a_quarter_of_the_original():
    pytest.importorskip("PIL")
    from classics_cifar import HalfNetwork, half_network

    assert sum(p.numel() for p in HalfNetwork().parameters()) == 68_050
    one, same, other = (half_network(seed).state_dict() for seed in (0, 0, 1))
    name = "layer2.0.conv1.weight"
    assert one[name].equal(same[name]) and not one[name].equal(other[name])
    assert half_network(0)(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
