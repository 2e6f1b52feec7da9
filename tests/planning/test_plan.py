"""The plan file: what it says, what is refused and in which words, and the way there and back."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from taut.errors import ArgumentError
from taut.planning import Goal, Plan, Rule, dump_plan, load_plan
from taut.planning.plan import read_plan
from taut.scheme import Scheme

WHOLE = """\
taut: 1                    # the version of this schema
target: {size: 12x, max_drop: 0.5%}
effort: max
seed: 7
finish: true
rules:                        # the first that fits wins
  - {match: "*.embeddings.*", scheme: "rd", weight: 1.5}
  - {match: "re:.*LayerNorm.*", scheme: fp16}
  - match: "*"
    scheme: 2:4
"""


def test_every_key_is_read(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(WHOLE)
    plan = load_plan(path)
    assert plan.target is not None
    assert (plan.target.size, plan.target.bits, plan.target.max_drop) == ("12x", None, "0.5%")
    assert (plan.effort, plan.seed, plan.finish) == ("max", 7, True)
    assert plan.rules == (
        Rule(match="*.embeddings.*", scheme=Scheme("rd"), weight=1.5),
        Rule(match="re:.*LayerNorm.*", scheme=Scheme("fp16")),
        Rule(match="*", scheme=Scheme(n_of_m=(2, 4))),  # and not 124, as YAML 1.1 has it
    )


def test_what_is_not_said_is_left_open() -> None:
    plan = read_plan("taut: 1")
    assert (plan.target, plan.effort, plan.seed, plan.finish) == (None, None, None, None)
    assert plan.rules == ()


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("{size: 4.2MB}", "size", "4.2MB"),
        ("{size: 5000}", "size", 5000),
        ("{bits: 2.5}", "bits", 2.5),
        ("{bits: 2}", "bits", 2),
        ("{max_drop: 5e-3}", "max_drop", 0.005),
        ("{max_drop: 0}", "max_drop", 0),
    ],
)
def test_targets(text: str, key: str, value: object) -> None:
    target = read_plan(f"taut: 1\ntarget: {text}").target
    assert getattr(target, key) == value


MISTAKES = {
    "": "p.yaml: is empty; begin with: taut: 1",
    "# nothing\n": "p.yaml: is empty",
    "- taut\n": "p.yaml, line 1: not a mapping",
    "12x": "p.yaml, line 1: not a mapping",
    "rules: []": 'p.yaml: begin with "taut: 1"',
    "taut: 2": "p.yaml, line 1: taut: 2 is of a later Taut; this one reads 1",
    "taut: true": "line 1: taut: True cannot be; give 1",
    "taut: 1.0.0": 'taut: "1.0.0" cannot be',
    "taut: 1\ntraget: {size: 12x}": (
        'p.yaml, line 2: unknown key "traget"; nearest: target; all: taut, about, target'
    ),
    "taut: 1\ntarget: 12x": 'line 2: target: "12x" cannot be; give a mapping as {size: 12x}',
    "taut: 1\ntarget: {}": "line 2: target: asks for nothing",
    "taut: 1\ntarget: {size: 12x, bits: 2}": "target: size and bits ask for the same thing",
    "taut: 1\ntarget: {sise: 12x}": 'target: unknown key "sise"; nearest: size; all: size, bits',
    "taut: 1\ntarget:\n  size: 12y": 'line 2: target: size: "12y" is none of a ratio (8x)',
    "taut: 1\ntarget:\n  size: 4.2": "line 3: target: size: 4.2 cannot be; give a text",
    "taut: 1\ntarget: {size: 0x}": "size",
    "taut: 1\ntarget: {size: -3}": 'size: "-3" is none of',
    "taut: 1\ntarget: {bits: '2'}": 'target: bits: "2" cannot be; give a positive number',
    "taut: 1\ntarget: {bits: true}": "target: bits: True cannot be",
    "taut: 1\ntarget: {bits: 0}": "target: bits: 0 is not a positive number",
    "taut: 1\ntarget: {bits: .inf}": "bits: inf cannot be",
    "taut: 1\ntarget: {max_drop: half}": 'max_drop: "half" cannot be; give 0.5% of the score',
    "taut: 1\ntarget: {max_drop: -1}": "max_drop: -1 cannot be",
    "taut: 1\ntarget: {max_drop: 101%}": "max_drop",
    "taut: 1\neffort: mx": 'line 2: effort: "mx" cannot be; give fast or max; nearest: max',
    "taut: 1\nseed: 1.5": "line 2: seed: 1.5 cannot be; give a whole number from 0 on",
    "taut: 1\nseed: -1": "seed: -1 cannot be",
    "taut: 1\nseed: true": "seed: True cannot be",
    "taut: 1\nfinish: 1": "finish: 1 cannot be; give true or false",
    "taut: 1\nfinish: yes": 'finish: "yes" cannot be; give true or false',
    "taut: 1\nrules:": "line 2: rules: None cannot be; give a list of rules",
    "taut: 1\nrules: {match: a, scheme: rd}": "rules: a mapping cannot be; give a list",
    "taut: 1\nrules: [rd]": 'line 2: rule 1: "rd" is no mapping as {match: PATTERN',
    "taut: 1\nrules:\n- {match: a}": 'line 3: rule 1: has no "scheme"; give a text as rd',
    "taut: 1\nrules:\n- {mach: a, scheme: rd}": 'rule 1: has no "match"',
    "taut: 1\nrules:\n- {match: a, scheme: rd}\n- {match: b, scheme: rd, wieght: 2}": (
        'line 4: rule 2: unknown key "wieght"; nearest: weight; all: match, scheme, weight'
    ),
    "taut: 1\nrules:\n- {match: a, scheme: imt4}": (
        'line 3: rule 1: scheme "imt4", column 1: unknown part "imt4"; nearest: int4'
    ),
    "taut: 1\nrules:\n- {match: a, scheme: 4}": "rule 1: scheme: 4 cannot be; give a text as rd",
    "taut: 1\nrules:\n- {match: '', scheme: rd}": 'rule 1: match: "" cannot be; give a glob',
    "taut: 1\nrules:\n- {match: 3, scheme: rd}": "rule 1: match: 3 cannot be",
    "taut: 1\nrules:\n- {match: 're:(a', scheme: rd}": (
        'line 3: rule 1: match: "re:(a" is no regular expression: '
    ),
    "taut: 1\nrules:\n- {match: a, scheme: rd, weight: 0}": "rule 1: weight: 0 cannot be",
    "taut: 1\nrules:\n- {match: a, scheme: rd, weight: .nan}": "rule 1: weight: nan cannot be",
    "taut: 1\nrules:\n- {match: a, scheme: int8, weight: 2}": (
        "rule 1: weight: only rd, whose step the target sets, has one, not int8"
    ),
    "taut: 1\nrules:\n- {match: a, scheme: 'rd:3', weight: 2}": "not rd:3",
    "taut: 1\nseed: 1\nseed: 2": 'line 3: the key "seed" comes twice, first in line 2',
    "taut: 1\nrules: [\n": "p.yaml, line 3, column 1: not YAML",
    "taut: 1\n\tseed: 1": "p.yaml, line 2, column 1: not YAML",
    "taut: 1\nrules:\n- {match: *.weight, scheme: rd}": 'wants quotes, as in "*.weight"',
    "taut: 1\nrules:\n- match: *\n  scheme: rd": 'wants quotes, as in "*.weight"',
    "taut: 1\nrules:\n- match: &a x\n  scheme: *a": "line 3: &a: anchors and aliases are",
    "taut: 1\nseed: !!python/object/apply:os.system [ls]": "line 2: tag:yaml.org",
    "taut: 1\n---\ntaut: 1": "line 3: a second document",
    "taut: 1\n? [a]\n: 1": "line 2: a key must be a word",
    "taut: 1\nrules: " + "[" * 50_000: "line 2: nested too deeply for a plan",
    "taut: 1\nrules: " + "[" * 900: "line 2: nested too deeply for a plan",
    "taut: 1\nrules: " + "[" * 12 + "]" * 12: "line 2: nested too deeply for a plan",
    "taut: 1\nrules: " + "{a: " * 5_000: "line 2: nested too deeply for a plan",
    "taut: 1\nrules:\n  " + "- " * 50_000: "line 3: nested too deeply for a plan",
    "taut: 1\nrules: ['[[[[[[[[[[[[', # [[[[[[[[[[\n": "line 3, column 1: not YAML",
    "taut: 1\nseed: \x07": "p.yaml",
    "taut: 1\nseed: " + "9" * 5_000: "seed",
    "taut: 1\neffort: x\nseed: x": "line 2: effort",
}


@pytest.mark.parametrize("text", MISTAKES, ids=range(len(MISTAKES)))
def test_mistakes_are_named(text: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        read_plan(text, "p.yaml")
    assert str(caught.value).startswith("p.yaml")
    assert MISTAKES[text] in str(caught.value)
    assert len(str(caught.value)) < 400


def test_aliases_that_would_grow_are_refused_before_they_do() -> None:
    bomb = "taut: 1\na: &a [x,x]\n" + "".join(
        f"{b}: &{b} [*{a},*{a},*{a},*{a},*{a},*{a},*{a},*{a},*{a}]\n"
        for a, b in zip("abcdefghij", "bcdefghijk", strict=True)
    )
    with pytest.raises(ArgumentError, match="line 2: &a: anchors and aliases are refused"):
        read_plan(bomb)


def test_a_file_that_is_no_text_or_not_there(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="cannot be read"):
        load_plan(tmp_path / "plan.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"taut: 1 # \xe9")
    with pytest.raises(ArgumentError, match="byte 10 is not UTF-8"):
        load_plan(tmp_path / "latin.yaml")


def test_python_gets_the_same_errors() -> None:
    with pytest.raises(ArgumentError, match=r'^plan: unknown key "traget"; nearest: target'):
        Plan(traget={"size": "12x"})  # type: ignore[call-arg]
    with pytest.raises(ArgumentError, match=r"rule 1: .*nearest: int4"):
        Plan(rules=[{"match": "*", "scheme": "imt4"}])  # type: ignore[arg-type]


def test_a_plan_is_frozen_and_saved_whole_once(tmp_path: Path) -> None:
    plan = read_plan(WHOLE)
    with pytest.raises(ValidationError):
        plan.seed = 3  # type: ignore[misc]
    plan.save(tmp_path / "plan.yaml")
    assert load_plan(tmp_path / "plan.yaml") == plan
    with pytest.raises(ArgumentError, match="exists"):
        plan.save(tmp_path / "plan.yaml")
    plan.save(tmp_path / "plan.yaml", force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["plan.yaml"]


def test_dumped_keys_are_in_order_and_only_what_is_said() -> None:
    assert dump_plan(read_plan(WHOLE)).splitlines() == [
        "taut: 1",
        "target: {size: 12x, max_drop: 0.5%}",
        "effort: max",
        "seed: 7",
        "finish: true",
        "rules:",
        "- {match: '*.embeddings.*', scheme: rd, weight: 1.5}",
        "- {match: 're:.*LayerNorm.*', scheme: fp16}",
        "- {match: '*', scheme: '2:4'}",
    ]


TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(
    lambda text: not text.startswith("re:")
) | st.sampled_from(
    ["1e3", "2:4", "null", "yes", "=", "<<", "012", "0x1f", "2020-01-01", ".5", "~"]
)
RULES = st.builds(
    lambda match, weight: Rule(match=match, scheme=Scheme("rd"), weight=weight),
    TEXTS,
    st.floats(1e-9, 1e6),
)
GOALS = st.builds(
    lambda bits, drop: Goal(bits=bits, max_drop=drop), st.floats(1e-9, 64), st.floats(0, 1e9)
)


@given(st.none() | GOALS, st.lists(RULES, max_size=3), st.none() | st.integers(0, 2**63 - 1))
def test_there_and_back(goal: Goal | None, rules: list[Rule], seed: int | None) -> None:
    plan = Plan(target=goal, rules=tuple(rules), seed=seed)
    text = dump_plan(plan)
    assert read_plan(text) == plan
    assert yaml.safe_load(text)["rules"] == [  # and other readers see the same
        {"match": rule.match, "scheme": "rd"}
        | ({"weight": rule.weight} if rule.weight != 1 else {})
        for rule in rules
    ]


@given(st.text(alphabet="lac:1 \n-{}[],*&!#'\"%|>?@x2", max_size=40))
def test_any_text_is_a_plan_or_an_argument_error(text: str) -> None:
    try:
        read_plan(text)
    except ArgumentError as error:
        assert str(error).startswith("plan")


def test_the_room_is_entered_without_pydantic() -> None:
    code = (
        "import sys; from taut.planning import Target, meet_target, quantisable, resolve\n"
        "assert not {'pydantic', 'yaml', 'torch'} & set(sys.modules)\n"
        "from taut.planning import Plan; Plan()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(ImportError):
        from taut.planning import Plam  # type: ignore[attr-defined]  # noqa: F401


def test_a_plan_of_the_most_bytes_is_read_and_one_of_more_is_not(tmp_path, monkeypatch) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text("taut: 1\n")
    monkeypatch.setattr("taut.planning.plan.MAX_BYTES", 8)
    assert load_plan(path) == Plan()
    path.write_text("taut: 1 \n")
    with pytest.raises(ArgumentError, match="over 8 bytes"):
        load_plan(path)
