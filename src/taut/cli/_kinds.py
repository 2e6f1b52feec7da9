"""Files of JSON and YAML by what they are, so that a wrong one is named and not puzzled over."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from taut.errors import ArgumentError

_LARGEST: Final = 64 << 20  # bytes that are looked at: tokenizers have some tens of megabytes
_SUFFIXES: Final = (".json", ".yaml", ".yml")


@dataclass(frozen=True)
class Kind:
    """What a file is, and where it is to be given instead; `keys` are those that tell it."""

    name: str
    told: str
    instead: str
    keys: tuple[frozenset[str], ...]


def _keys(*alternatives: str) -> tuple[frozenset[str], ...]:
    return tuple(frozenset(one.split()) for one in alternatives)


PLAN: Final = "plan"
INDEX: Final = "index"
KINDS: Final = (
    Kind(INDEX, "the index of a sharded model", "give it as MODEL", _keys("weight_map")),
    Kind(
        "evaluation",
        "what taut eval --json printed",
        "give it to taut report --score",
        _keys("model original paired fidelity"),
    ),
    Kind(
        "frontier",
        "what taut frontier --json printed",
        "give it to taut report --frontier",
        _keys("points pareto knee"),
    ),
    Kind(
        "analysis",
        "what taut analyze -o wrote",
        "give it to taut report --analysis",
        _keys("tensors lossless memory calibrated"),
    ),
    Kind(
        "export",
        "what taut export --json printed",
        "give it to taut report --export",
        _keys("format files exact rounded"),
    ),
    Kind(
        "info",
        "what taut info or compress --json printed",
        "name the Taut file itself",
        _keys("original_size ratio tensors"),
    ),
    Kind("journal", "the marker of a journal", "--resume finds it", _keys("identity")),
    Kind(
        "tokenizer",
        "a tokenizer",
        "name the folder that it is in",
        _keys("added_tokens model", "tokenizer_class"),
    ),
    Kind(
        "config",
        "a model's config",
        "name the folder that it is in",
        _keys("model_type", "architectures", "transformers_version", "peft_type", "_class_name"),
    ),
    Kind(
        "trees",
        "a model of XGBoost",
        "trees have no weights that Taut compresses",
        _keys("learner version"),
    ),
    Kind(PLAN, "a plan", "give it to --plan", _keys("rules", "target", "steps", "about")),
)


def kind_of(path: Path) -> Kind | None:
    """What a file of JSON or YAML is; None if it is neither, cannot be read, or is of no kind."""
    if not path.name.lower().endswith(_SUFFIXES) or not path.is_file():
        return None
    tree = _read(path)
    found = set(tree) if isinstance(tree, dict) else set()
    return next((one for one in KINDS if any(keys <= found for keys in one.keys)), None)


def check_kind(option: str, value: str | Path | None, wanted: str = "") -> None:
    """Whether what an option names is what it takes, where it is of some other kind.

    Raises:
        ArgumentError: it is of another kind; says which, and where to give it.
    """
    if value is None:
        return
    path = Path(value)
    found = kind_of(path)
    if found is not None and found.name != wanted:
        raise ArgumentError(f"{option}: {path} is {found.told}; {found.instead}")


def check_kinds(options: Iterable[tuple[str, str | Path | None, str]]) -> None:
    """`check_kind` of several options."""
    for option, value, wanted in options:
        check_kind(option, value, wanted)


def _read(path: Path) -> object:
    try:
        if path.stat().st_size > _LARGEST:
            return None
        text = path.read_text(encoding="utf-8")
        if path.suffix.lower() == ".json":
            return json.loads(text)
        import yaml

        return yaml.safe_load(text)
    except (OSError, ValueError, RecursionError):
        return None
    except Exception as error:  # YAML's own: whoever takes the file says what is wrong with it
        if type(error).__module__.startswith("yaml"):
            return None
        raise
