"""What steps ask for together: the mask goes into the training that it is made in."""

from taut.planning import Plan, Recipe
from taut.transform.settings import Channels, Masking, Training


def test_a_training_has_the_mask_in_it() -> None:
    plan = Plan(steps=[{"mask": {"sparsity": "90%"}}, {"train": {"epochs": 3}}])  # type: ignore[list-item]
    assert plan.recipe == Recipe(training=Training(epochs=3, mask=Masking(sparsity=0.9)))
    assert plan.recipe.training is not None and plan.recipe.training.mask is not None
    assert plan.recipe.training.mask.gradual


def test_a_mask_without_training_is_made_at_once() -> None:
    recipe = Plan(steps=[{"mask": {"sparsity": "90%"}}]).recipe  # type: ignore[list-item]
    assert recipe == Recipe(mask=Masking(sparsity=0.9, gradual=False))


def test_channels_stay_apart_and_nothing_is_nothing() -> None:
    assert Plan().recipe == Recipe()
    half = Channels(remove=0.5, ignore=("head",))
    assert Plan(steps=[half]).recipe == Recipe(channels=half)  # type: ignore[list-item]
