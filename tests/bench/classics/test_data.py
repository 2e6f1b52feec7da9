"""The tasks of the classics: batches that repeat, and networks that are what they say."""

from itertools import pairwise

import pytest

torch = pytest.importorskip("torch")

from bench.classics.data import Batches, moved  # noqa: E402
from bench.classics.nets import LeNet5, LeNet300100  # noqa: E402
from bench.classics.tasks import task  # noqa: E402


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
    assert [len(y) for _, y in Batches(tiny, 1000)()] == [40]


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
    assert len(judged) == 40 // 20 and not seen & judged and len(seen | judged) == 40


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
    from bench.classics.cifar import HalfNetwork, half_network

    assert sum(p.numel() for p in HalfNetwork().parameters()) == 68_050
    one, same, other = (half_network(seed).state_dict() for seed in (0, 0, 1))
    name = "layer2.0.conv1.weight"
    assert one[name].equal(same[name]) and not one[name].equal(other[name])
    assert half_network(0)(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
