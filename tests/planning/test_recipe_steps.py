"""The steps of a plan: what they say, what is refused and in which words, there and back."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from taut.errors import ArgumentError
from taut.planning import Plan, Step, dump_plan
from taut.planning.plan import read_plan
from taut.planning.recipe_steps import ChannelsStep, DistillPart, MaskStep, TrainStep
from taut.transform.settings import Channels, Distill, Masking, Training

HEAD = "taut: 1\nsteps:\n"
WHOLE = """\
taut: 1
steps:
- channels: {remove: 50%, importance: taylor}
- mask: {sparsity: 90%, method: magnitude, gradual: true}
- train: {epochs: 20, optimizer: sgd, lr: 0.05, bits: true, distill: {weight: 0.9, temperature: 4}}
"""


def test_every_step_is_read() -> None:
    channels, mask, train = read_plan(WHOLE).steps
    assert [step.name for step in (channels, mask, train)] == ["channels", "mask", "train"]
    assert channels.channels is not None and mask.mask is not None and train.train is not None
    assert channels.channels.settings() == Channels(remove=0.5, importance="taylor")
    assert mask.mask.settings() == Masking(sparsity=0.9, method="magnitude", gradual=True)
    assert train.train.settings() == Training(
        epochs=20, optimizer="sgd", lr=0.05, distill=Distill(weight=0.9, temperature=4)
    )


@pytest.mark.parametrize(
    ("part", "settings", "elsewhere"),
    [
        (ChannelsStep, Channels, set()),
        (MaskStep, Masking, set()),
        (DistillPart, Distill, set()),
        (TrainStep, Training, {"mask"}),  # a step of its own
    ],
)
def test_all_that_settings_say_can_be_written(part: type, settings: type, elsewhere: set) -> None:
    names = {field.name for field in dataclasses.fields(settings)}
    assert set(part.model_fields) == names - elsewhere  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- train:", Training()),  # with nothing behind it: every default
        ("- train: {}", Training()),
        ("- train: {distill: false}", Training(distill=None)),
        ("- train: {distill: {weight: 0}}", Training(distill=None)),
        ("- train: {distill: true, bits: false}", Training(bits=False)),
        (
            "- train: {distill: {weight: 0, features: [layer1]}}",
            Training(distill=Distill(weight=0, features=("layer1",))),
        ),
        ("- train: {warmup: 0.1, ramp: 12.5%}", Training(warmup=0.1, ramp=0.125)),
        ("- train: {activations: int8, clip: 1}", Training(activations="int8", clip=1)),
    ],
)
def test_trainings(text: str, expected: Training) -> None:
    (step,) = read_plan(HEAD + text).steps
    assert step.train is not None
    assert step.train.settings() == expected


@pytest.mark.parametrize("text", ["2:4", "'2:4'"])
def test_an_unquoted_pattern_is_no_number_of_base_60(text: str) -> None:
    (step,) = read_plan(f"{HEAD}- mask: {{n_of_m: {text}, block: [1, 4]}}").steps
    assert step.mask is not None
    assert step.mask.settings() == Masking(n_of_m=(2, 4), block=(1, 4))


MISTAKES = {
    "- mask: {sparsity: 1.5}": "line 3: step 1: mask: sparsity: 1.5 cannot be; give a fraction",
    "- mask: {sparsity: 150%}": 'mask: sparsity: "150%" cannot be; give the share of zeros, as 90%',
    "- mask: {sparsity: true}": "mask: sparsity: True cannot be",
    "- mask: {}": "line 3: step 1: mask: give either sparsity or n_of_m",
    "- mask: 50%": 'step 1: mask: "50%" cannot be; give a mapping as {sparsity: 90%}',
    "- mask: {sparsity: 50%, n_of_m: 2:4}": "mask: give either sparsity or n_of_m",
    "- mask: {n_of_m: 4:2}": "N:M keeps N of M weights with 1 <= N < M, not 4:2",
    "- mask: {n_of_m: rd}": 'n_of_m: "rd" cannot be; give "2:4"',
    "- mask: {n_of_m: 124}": "n_of_m: 124 cannot be",
    "- mask: {sparsity: 50%, block: [1, 0]}": "block: 0 cannot be; give [rows, columns]",
    "- mask: {sparsity: 50%, block: [4]}": "block: a list cannot be; give [rows, columns]",
    "- mask: {sparsity: 50%, end: 0%}": "mask: begin, end: (0.0, 0.0) cannot be",
    "- mask:\n    sparsity: 50%\n    gradual: true": (
        "line 3: step 1: mask: gradual: goes with a train step; add one, or leave gradual out"
    ),
    "- train: {}\n- train: {}": "line 4: step 2: train: comes twice, first as step 1; keep one",
    "- train: {}\n- channels: {remove: 50%}": (
        "line 4: step 2: channels: comes after train; the order is channels, mask, train"
    ),
    "- train: {}\n- mask: {sparsity: 50%}": "step 2: mask: comes after train",
    "- {mask: {sparsity: 50%}, train: {}}": "step 1: is mask and train in one; give each an entry",
    "- {}": "step 1: is empty; give channels, mask or train",
    "- trian: {}": (
        'line 3: step 1: unknown key "trian"; nearest: train; all: channels, mask, train'
    ),
    "- train": 'step 1: "train" is no mapping as {train: {epochs: 10}}',
    "- train: {lr: fast}": 'step 1: train: lr: "fast" cannot be; give a positive number',
    "- train:\n    epochs: 3\n    lr: 0": "line 5: step 1: train: lr: 0",
    "- train: {epochs: 0}": "train: epochs: 0 cannot be; give a whole number from 1 on",
    "- train: {epochs: 2.5}": "train: epochs: 2.5 cannot be",
    "- train: {optimizer: adam}": (
        'optimizer: "adam" cannot be; give adamw or sgd; nearest: adamw'
    ),
    "- train: {bits: 3}": "train: bits: 3 cannot be; give true or false",
    "- train: {momentum: .nan}": "momentum: nan cannot be",
    "- train: {mask: {sparsity: 50%}}": 'train: unknown key "mask"',
    "- train: {distill: 3}": "train: distill: 3 cannot be; give a mapping as {weight: 0.9",
    "- train: {distill: {wight: 1}}": 'train: distill: unknown key "wight"; nearest: weight',
    "- train: {distill: {temperature: 0}}": "train: distill: temperature: 0 cannot be",
    "- train: {distill: {features: layer1}}": 'features: "layer1" cannot be; give a list of',
    "- channels: {}": "step 1: channels: give one of remove, parameters and flops",
    "- channels: {remove: 50%, flops: 50%}": "channels: give one of remove, parameters and flops",
    "- channels: {remove: 100%}": "channels: 1.0 cannot be",
    "- channels: {remove: 50%, ignore: [3]}": "ignore: 3 cannot be; give a list of modules' names",
    "- channels: {remove: 50%, importance: size}": (
        'importance: "size" cannot be; give magnitude, taylor or curvature'
    ),
}


@pytest.mark.parametrize("text", MISTAKES, ids=range(len(MISTAKES)))
def test_mistakes_are_named(text: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        read_plan(HEAD + text, "p.yaml")
    assert str(caught.value).startswith("p.yaml, line ")
    assert MISTAKES[text] in str(caught.value)


FRACTIONS = st.floats(1e-300, 0.999)
MASKS = st.builds(Masking, sparsity=FRACTIONS, regrow=FRACTIONS, block=st.none() | st.just((1, 4)))
TRAININGS = st.builds(
    Training,
    epochs=st.integers(1, 10**6),
    lr=st.none() | st.floats(1e-12, 100),
    warmup=FRACTIONS,
    distill=st.none() | st.builds(Distill, features=st.sampled_from([(), ("a.b", "c")])),
    mask=st.none() | MASKS,
)


@given(TRAININGS, st.none() | st.builds(Channels, flops=FRACTIONS))
def test_there_and_back(training: Training, channels: Channels | None) -> None:
    steps = [training] if channels is None else [channels, training]
    plan = Plan(steps=steps)  # type: ignore[arg-type]  # settings stand for their steps
    again = read_plan(dump_plan(plan))
    assert again == plan
    assert (again.recipe.training, again.recipe.channels) == (training, channels)


def test_dumped_steps_read_as_they_are_written() -> None:
    assert dump_plan(read_plan(WHOLE)).splitlines() == [
        "taut: 1",
        "rules: []",
        "steps:",
        "- channels: {remove: 50%, importance: taylor}",
        "- mask: {sparsity: 90%, method: magnitude, gradual: true}",
        "- train:",
        "    epochs: 20",
        "    optimizer: sgd",
        "    lr: 0.05",
        "    bits: true",
        "    distill: {weight: 0.9, temperature: 4}",
    ]
    assert "steps" not in dump_plan(Plan())


def test_a_step_is_frozen() -> None:
    step = Step(train=TrainStep())
    with pytest.raises(ValidationError):
        step.train = None  # type: ignore[misc]
